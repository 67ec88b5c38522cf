"use strict"
// Light curves of the page: unpack what is chosen, hand it to the plot.

const blocks = JSON.parse(document.getElementById("data").textContent)
const choose = Object.fromEntries(
  ["label", "camera", "source"].map((name) => [name, document.getElementById(name)]))
const tick = Object.fromEntries(["spoilt", "bars"].map((name) => [name, document.getElementById(name)]))
const about = document.getElementById("about")
// Spans [d] up to which a unit of the time axis is used, and its length [d].
const UNITS = [[0.01, "s", 1 / 86400], [0.1, "min", 1 / 1440], [3, "h", 1 / 24], [Infinity, "d", 1]]
const MOST_BARS = 20000
let shown = null
let turn = 0

async function unpack(text, Type) {
  // Bytes of all values, sorted by their place within a value: put each value together again.
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))
  const planes = new Uint8Array(await new Response(stream).arrayBuffer())
  const size = Type.BYTES_PER_ELEMENT
  const count = planes.length / size
  const whole = new Uint8Array(planes.length)
  for (let place = 0; place < size; place++)
    for (let i = 0; i < count; i++) whole[i * size + place] = planes[place * count + i]
  return new Type(whole.buffer)
}

async function arrays(block) {
  if (!block.arrays)
    block.arrays = Promise.all([
      unpack(block.time, Float64Array), unpack(block.flux, Float32Array),
      unpack(block.error, Float32Array), unpack(block.spoilt, Uint8Array)])
  return block.arrays
}

function fill(select, values) {
  const before = select.value
  select.replaceChildren(...values.map((value) => new Option(value, value)))
  if (values.includes(before)) select.value = before
}

const unique = (values) => [...new Set(values)]
const byNumber = new Intl.Collator("en", {numeric: true}).compare

function offer() {
  fill(choose.label, unique(blocks.map((block) => block.label)))
  const labelled = blocks.filter((block) => block.label === choose.label.value)
  fill(choose.camera, unique(labelled.map((block) => block.camera)))
  const seen = labelled.filter((block) => block.camera === choose.camera.value)
  fill(choose.source, unique(seen.flatMap((block) => block.ids)).sort(byNumber))
}

function chosen() {
  return blocks.filter((block) => block.label === choose.label.value &&
    block.camera === choose.camera.value && block.ids.includes(choose.source.value))
}

async function curve() {
  const rows = {time: [], flux: [], error: [], spoilt: [], night: []}
  for (const block of chosen()) {
    const [time, flux, error, spoilt] = await arrays(block)
    const start = block.ids.indexOf(choose.source.value) * block.frames
    for (let i = 0; i < block.frames; i++) {
      if (!Number.isFinite(flux[start + i]) || !Number.isFinite(time[i])) continue
      rows.time.push(time[i])
      rows.flux.push(flux[start + i])
      rows.error.push(error[start + i])
      rows.spoilt.push(spoilt[start + i])
      rows.night.push(block.night)
    }
  }
  return rows
}

async function show() {
  offer()
  const mine = ++turn
  const rows = await curve()
  if (mine !== turn) return // something else was chosen meanwhile
  const model = (name) => Bokeh.documents[0].get_model_by_name(name)
  const first = rows.time.reduce((a, b) => Math.min(a, b), Infinity)
  const last = rows.time.reduce((a, b) => Math.max(a, b), -Infinity)
  const origin = rows.time.length ? Math.floor(first * 1e5) / 1e5 : 0
  const [, unit, length] = UNITS.find(([span]) => !(last - origin > span))
  const take = (spoilt) => {
    const data = {x: [], y: [], error: [], night: []}
    rows.time.forEach((time, i) => {
      if (Boolean(rows.spoilt[i]) !== spoilt) return
      data.x.push((time - origin) / length)
      data.y.push(rows.flux[i])
      data.error.push(rows.error[i])
      data.night.push(rows.night[i])
    })
    return data
  }
  const good = take(false)
  const bad = tick.spoilt.checked ? take(true) : {x: [], y: [], error: [], night: []}
  const bars = {x: [], low: [], high: []}
  if (tick.bars.checked && good.x.length <= MOST_BARS) {
    bars.x = good.x
    bars.low = good.y.map((value, i) => value - good.error[i])
    bars.high = good.y.map((value, i) => value + good.error[i])
  }
  model("good").data = good
  model("bad").data = bad
  model("bars").data = bars
  const plot = model("curve")
  const system = chosen().every((block) => block.barycentric) ? "BMJD" : "MJD"
  plot.below[0].axis_label = `time since ${system} ${origin.toFixed(5)} [${unit}]`
  plot.reset.emit()
  tick.bars.disabled = good.x.length > MOST_BARS
  const flagged = rows.spoilt.reduce((sum, value) => sum + value, 0)
  about.textContent = `${choose.camera.value}, source ${choose.source.value}: ` +
    `${rows.time.length} points, ${flagged} flagged, ${unique(rows.night).length} night(s)`
  shown = {...rows, system: `${system}_${system === "BMJD" ? "TDB" : "UTC"}`}
  document.body.dataset.shown = `${choose.label.value}|${choose.camera.value}|${choose.source.value}`
}

function step(by) {
  const next = choose.source.selectedIndex + by
  if (next < 0 || next >= choose.source.length) return
  choose.source.selectedIndex = next
  show()
}

function save() {
  if (!shown) return
  const head = `${shown.system},flux,flux_err,flagged,night`
  const lines = shown.time.map((time, i) =>
    [time, shown.flux[i], shown.error[i], shown.spoilt[i], shown.night[i]].join(","))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([[head, ...lines].join("\n") + "\n"], {type: "text/csv"}))
  link.download = `${choose.label.value}_${choose.camera.value}_${choose.source.value}.csv`.replace(/[:\s]/g, "-")
  link.click()
  URL.revokeObjectURL(link.href)
}

for (const control of [...Object.values(choose), ...Object.values(tick)]) control.addEventListener("change", show)
document.getElementById("before").addEventListener("click", () => step(-1))
document.getElementById("after").addEventListener("click", () => step(1))
document.getElementById("save").addEventListener("click", save)
document.addEventListener("pick", (event) => {
  const {camera, id} = event.detail
  choose.camera.value = camera
  offer()
  choose.source.value = id
  show()
})

function start() {
  // The plots are put in by a script of their own, which may not have run yet.
  const ready = window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].get_model_by_name("good")
  if (!ready) return setTimeout(start, 20)
  if (blocks.length) show()
  else about.textContent = "There are no light curves yet."
}
start()
