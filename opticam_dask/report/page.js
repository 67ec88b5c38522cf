"use strict"
// Light curves of the page: unpack what is chosen, hand it to the plot.

const blocks = JSON.parse(document.getElementById("data").textContent)
const pictures = JSON.parse(document.getElementById("pictures").textContent)
const named = (names) => Object.fromEntries(names.map((name) => [name, document.getElementById(name)]))
const choose = named(["label", "camera", "source", "night"])
const tick = named(["spoilt", "bars", "gaps"])
const about = document.getElementById("about")
// Spans [d] up to which a unit of the time axis is used, and its length [d].
const UNITS = [[0.01, "s", 1 / 86400], [0.1, "min", 1 / 1440], [3, "h", 1 / 24], [Infinity, "d", 1]]
const MOST_BARS = 20000
const ALL = "all nights"
let shown = null
let pictured = pictures.length ? pictures[0].name : ""
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
  fill(choose.night, [ALL, ...ofSource().map((block) => block.night).sort()])
}

function ofSource() {
  return blocks.filter((block) => block.label === choose.label.value &&
    block.camera === choose.camera.value && block.ids.includes(choose.source.value))
}

function chosen() {
  return ofSource().filter((block) => [ALL, block.night].includes(choose.night.value))
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

function nightsOf(rows) {
  // First and last time of each night, in order.
  const found = new Map()
  rows.time.forEach((time, i) => {
    const night = found.get(rows.night[i])
    if (!night) found.set(rows.night[i], {name: rows.night[i], first: time, last: time})
    else {
      night.first = Math.min(night.first, time)
      night.last = Math.max(night.last, time)
    }
  })
  return [...found.values()].sort((a, b) => a.first - b.first)
}

function inTime(rows, nights, system) {
  const first = nights.length ? nights[0].first : 0
  const last = Math.max(first, ...nights.map((night) => night.last))
  const origin = Math.floor(first * 1e5) / 1e5
  const [, unit, length] = UNITS.find(([span]) => !(last - origin > span))
  return {
    x: rows.time.map((time) => (time - origin) / length),
    label: `time since ${system} ${origin.toFixed(5)} [${unit}]`}
}

function sideBySide(rows, nights) {
  // Nights one after the other, on one scale, without the days between them; a short one gets some room too.
  const least = Math.max(...nights.map((night) => night.last - night.first)) / 10 || 1
  const shift = new Map()
  const axis = {names: new Map(), ticks: [], gaps: []}
  let start = 0
  for (const {name, first, last} of nights) {
    const width = Math.max(last - first, least)
    const middle = start + width / 2
    shift.set(name, middle - (first + last) / 2)
    axis.names.set(middle, name)
    axis.ticks.push(middle)
    if (start) axis.gaps.push(start - least / 2)
    start += width + least
  }
  return {x: rows.time.map((time, i) => time + shift.get(rows.night[i])), ...axis}
}

function median(values) {
  const sorted = Float64Array.from(values).sort()
  const half = sorted.length >> 1
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

function middles(data) {
  // Median flux of each night, in its middle.
  const found = new Map()
  data.night.forEach((night, i) => {
    if (!found.has(night)) found.set(night, {x: [], y: []})
    found.get(night).x.push(data.x[i])
    found.get(night).y.push(data.y[i])
  })
  const nights = [...found.keys()]
  return {x: nights.map((night) => median(found.get(night).x)),
    y: nights.map((night) => median(found.get(night).y)), night: nights}
}

function setAxes(plot, axis, label) {
  const [time, nights] = plot.below
  time.visible = !axis
  nights.visible = Boolean(axis)
  plot.center.filter((each) => each.dimension === 0).forEach((grid) => { grid.visible = !axis })
  if (!axis) time.axis_label = label
  else nights.setv({major_label_overrides: axis.names})
  nights.ticker.ticks = axis ? axis.ticks : []
}

function picked(rows, x, time, spoilt) {
  const data = {x: [], y: [], error: [], night: [], time: []}
  rows.time.forEach((_, i) => {
    if (Boolean(rows.spoilt[i]) !== spoilt) return
    data.x.push(x[i])
    data.y.push(rows.flux[i])
    data.error.push(rows.error[i])
    data.night.push(rows.night[i])
    data.time.push(time[i])
  })
  return data
}

async function show() {
  offer()
  const mine = ++turn
  const rows = await curve()
  if (mine !== turn) return // something else was chosen meanwhile
  const model = (name) => Bokeh.documents[0].get_model_by_name(name)
  const system = chosen().every((block) => block.barycentric) ? "BMJD" : "MJD"
  const nights = nightsOf(rows)
  const axis = nights.length > 1 && !tick.gaps.checked ? sideBySide(rows, nights) : null
  const linear = inTime(rows, nights, system)
  const x = axis ? axis.x : linear.x
  const good = picked(rows, x, nights.length > 1 ? rows.time : x, false)
  const bad = picked(rows, x, nights.length > 1 ? rows.time : x, true)
  const bars = {x: [], low: [], high: []}
  if (tick.bars.checked && good.x.length <= MOST_BARS) {
    bars.x = good.x
    bars.low = good.y.map((value, i) => value - good.error[i])
    bars.high = good.y.map((value, i) => value + good.error[i])
  }
  const none = {x: [], y: [], error: [], night: [], time: []}
  model("good").data = good
  model("bad").data = tick.spoilt.checked ? bad : none
  model("bars").data = bars
  model("middles").data = nights.length > 1 ? middles(good) : {x: [], y: [], night: []}
  model("gaps").data = {x: axis ? axis.gaps : []}
  const plot = model("curve")
  setAxes(plot, axis, linear.label)
  plot.reset.emit()
  tick.bars.disabled = good.x.length > MOST_BARS
  about.textContent = `${choose.camera.value}, ${document.body.dataset.thing} ${choose.source.value}: ` +
    `${rows.time.length} points, ${bad.x.length} flagged, ${nights.length} night(s)`
  showField()
  shown = {...rows, system: `${system}_${system === "BMJD" ? "TDB" : "UTC"}`}
  document.body.dataset.night = choose.night.value
  document.body.dataset.shown = `${choose.label.value}|${choose.camera.value}|${choose.source.value}`
}

function showField() {
  // Of several fields the page shows that of the chosen object.
  const mine = pictures.find((each) =>
    each.camera === choose.camera.value && each.stars.id.includes(choose.source.value))
  if (!mine || mine.name === pictured) return
  pictured = mine.name
  const model = (name) => Bokeh.documents[0].get_model_by_name(name)
  for (const camera of unique(pictures.map((each) => each.camera))) {
    const field = pictures.find((each) => each.name === pictured && each.camera === camera)
    const plot = model(`field ${camera}`)
    model(`image ${camera}`).data = field ? field.image : {url: [], x: [], y: [], w: [], h: []}
    model(`sources ${camera}`).data = field ? field.stars : {x: [], y: [], id: [], text: []}
    plot.title.text = field ? field.title : `${camera}: not in ${pictured}`
    if (!field) continue
    plot.x_range.end = field.shape[1] - 0.5
    plot.y_range.end = field.shape[0] - 0.5
  }
}

function step(select, by) {
  const next = select.selectedIndex + by
  if (next < 0 || next >= select.length) return
  select.selectedIndex = next
  show()
}

function pickNight(night, camera) {
  // The chosen source if that night and camera show it, else another.
  const there = blocks.filter((block) => block.night === night && block.camera === camera &&
    block.label === choose.label.value)
  if (!there.length || !there[0].ids.length) return
  choose.camera.value = camera
  offer()
  if (!there[0].ids.includes(choose.source.value)) choose.source.value = there[0].ids[0]
  offer()
  choose.night.value = night
  show()
}

function save() {
  if (!shown) return
  const head = `${shown.system},flux,flux_err,flagged,night`
  const lines = shown.time.map((time, i) =>
    [time, shown.flux[i], shown.error[i], shown.spoilt[i], shown.night[i]].join(","))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([[head, ...lines].join("\n") + "\n"], {type: "text/csv"}))
  const night = choose.night.value === ALL ? "" : `_${choose.night.value}`
  const name = `${choose.label.value}_${choose.camera.value}_${choose.source.value}${night}.csv`
  link.download = name.replace(/[:\s]/g, "-")
  link.click()
  URL.revokeObjectURL(link.href)
}

for (const control of [...Object.values(choose), ...Object.values(tick)]) control.addEventListener("change", show)
for (const [name, select] of [["", choose.source], ["night-", choose.night]]) {
  document.getElementById(`${name}before`).addEventListener("click", () => step(select, -1))
  document.getElementById(`${name}after`).addEventListener("click", () => step(select, 1))
}
if (unique(blocks.map((block) => block.night)).length > 1)
  document.querySelectorAll(".several").forEach((each) => { each.hidden = false })
document.querySelectorAll("a[data-night]").forEach((link) =>
  link.addEventListener("click", () => pickNight(link.dataset.night, link.dataset.camera)))
document.getElementById("save").addEventListener("click", save)
document.addEventListener("pick", (event) => {
  const {camera, id} = event.detail
  const measured = blocks.some((block) => block.label === choose.label.value && block.camera === camera &&
    block.ids.includes(id))
  if (!measured) {
    about.textContent = `${camera}: no light curve of ${id} yet`
    return
  }
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
