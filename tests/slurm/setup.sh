#!/usr/bin/env bash
# A SLURM of one node on this machine, for the tests marked `slurm`: run as root, again at will.
#
#   tests/slurm/setup.sh          install what is missing, start the daemons, wait until the node is idle
#   tests/slurm/setup.sh stop     stop the daemons
#
# Configuration, state, logs and sockets are in $OPTICAM_SLURM (default /tmp/opticam-slurm); nothing in
# /etc is written but what Debian's packages bring. Use it with SLURM_CONF=$OPTICAM_SLURM/slurm.conf.
set -euo pipefail

home=${OPTICAM_SLURM:-/tmp/opticam-slurm}
conf=$home/slurm.conf
host=$(hostname -s)
cpus=$(nproc)
[ "$cpus" -ge 4 ] || cpus=4

fail() {
  echo "SLURM for the tests: $1" >&2
  for log in "$home"/*.log; do
    [ -s "$log" ] && { echo "--- last lines of $log" >&2; tail -n 15 "$log" >&2; }
  done
  exit 1
}

running() { # name: does the daemon we started still run?
  [ -s "$home/$1.pid" ] && [ "$(cat "/proc/$(cat "$home/$1.pid")/comm")" = "$1" ]
} 2> /dev/null

stop() {
  for daemon in slurmd slurmctld munged; do
    if running "$daemon"; then
      kill "$(cat "$home/$daemon.pid")"
      for _ in $(seq 50); do running "$daemon" || break; sleep 0.1; done
    fi
  done
}

if [ "${1:-}" = stop ]; then
  stop
  exit 0
fi

[ "$(id -u)" -eq 0 ] || fail "run as root: slurmd starts jobs for others"

if ! { command -v slurmctld && command -v slurmd && command -v munged; } > /dev/null; then
  command -v apt-get > /dev/null || fail "install slurmctld, slurmd and munged; there is no apt-get to do it"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -q && apt-get install -q -y --no-install-recommends slurm-wlm munge; } > /tmp/opticam-apt.log 2>&1 \
    || { tail -n 15 /tmp/opticam-apt.log >&2; fail "slurm-wlm and munge could not be installed"; }
fi

mkdir -p "$home"/{state,spool}
chmod 755 "$home"
if [ ! -s "$home/munge.key" ]; then
  (umask 077 && head -c 128 /dev/urandom > "$home/munge.key")
fi

cat > "$conf.new" << CONF
ClusterName=opticam
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
# No cgroups, which a container may not have.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
# One node stands for several: more CPUs than a small machine has are told, and believed.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MailProg=/bin/true
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=16000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
if ! cmp -s "$conf.new" "$conf"; then
  stop
  rm -rf "$home"/state/* "$home"/spool/*
fi
mv "$conf.new" "$conf"
echo "CgroupPlugin=cgroup/v1" > "$home/cgroup.conf"
export SLURM_CONF=$conf

running munged || munged --force --socket="$home/munge.socket" --key-file="$home/munge.key" \
  --pid-file="$home/munged.pid" --log-file="$home/munged.log" --seed-file="$home/munge.seed" \
  || fail "munged does not start"
running slurmctld || slurmctld > "$home/slurmctld.out.log" 2>&1 || fail "slurmctld does not start"
running slurmd || slurmd > "$home/slurmd.out.log" 2>&1 || fail "slurmd does not start"

for _ in $(seq 120); do
  case "$(sinfo --noheader --format=%T 2> /dev/null || true)" in
    idle | mixed | allocated) sinfo; echo "export SLURM_CONF=$conf"; exit 0 ;;
    down* | drained) scontrol update nodename="$host" state=idle reason=tests 2> /dev/null || true ;;
  esac
  sleep 0.25
done
fail "the node does not become idle ($(sinfo --noheader --format='%T %E' 2>&1 | head -n 1))"
