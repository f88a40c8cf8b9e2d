// When incidents were: a strip of bars above the list. A stretch that is dragged over becomes a filter.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { count, duration, moment } from "./words.js";

const HEIGHT = 64;
let library = null;

/** uPlot, loaded when the first strip is drawn: the list does not wait for it. */
function uplot() {
  library ??= new Promise((resolve, reject) => {
    document.head.append(h("link", { rel: "stylesheet", href: "vendor/uplot/uPlot.min.css" }));
    const script = h("script", { src: "vendor/uplot/uPlot.iife.min.js", onload: () => resolve(window.uPlot), onerror: reject });
    document.head.append(script);
  });
  return library;
}

/** Of the marks of the axis, the day only where it is another one. */
function labels(seconds) {
  let day = null;
  return seconds.map((second) => {
    const text = moment(second * 1e6, { short: true });
    const [, before, time] = text.match(/^(.*) (\d\d:\d\d)$/) ?? [null, "", text];
    const shown = before === day ? time : text;
    day = before;
    return shown;
  });
}

export class Strip {
  constructor(box, { onrange }) {
    Object.assign(this, { box, onrange, chart: null, answer: null });
    this.generation = 0;
    new ResizeObserver(() => this.chart?.setSize({ width: this.width, height: HEIGHT })).observe(box);
    document.addEventListener("theme-changed", () => this.draw());
  }

  get width() {
    return Math.max(200, this.box.clientWidth);
  }

  /** Ask for what `params` names, and draw it; nothing is drawn where the strip has no room. */
  async load(params) {
    const generation = ++this.generation;
    if (!this.box.clientWidth) return;
    const { since_us: _since, until_us: _until, sort: _sort, ...rest } = params;
    this.range = [params.since_us, params.until_us];
    try {
      const [answer] = await Promise.all([get("incidents-over-time", rest), uplot()]);
      if (generation !== this.generation) return;
      this.answer = answer;
      this.draw();
    } catch {
      put(this.box); // The list is there without it.
    }
  }

  async draw() {
    const { answer } = this;
    if (!answer) return;
    const Chart = await uplot();
    this.chart?.destroy();
    this.chart = null;
    if (answer.buckets.length < 2) return void put(this.box);
    const { width_us: width, buckets } = answer;
    const step = width / 1e6;
    const [first, last] = [buckets[0][0] / 1e6, buckets.at(-1)[0] / 1e6];
    const at = new Map(buckets.map(([start, page, other]) => [start / 1e6, [page, other]]));
    const times = Array.from({ length: Math.round((last - first) / step) + 1 }, (_, index) => first + index * step);
    const pages = times.map((time) => at.get(time)?.[0] ?? 0);
    const all = times.map((time) => (at.get(time)?.[0] ?? 0) + (at.get(time)?.[1] ?? 0));
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const bars = Chart.paths.bars({ size: [0.8, 18, 1], align: 1 });
    const axis = { stroke: colour("--muted"), font: "11px system-ui, sans-serif", grid: { show: false }, ticks: { show: false } };
    const series = (name) => ({ stroke: colour(name), fill: colour(name), width: 0, paths: bars, points: { show: false } });
    const options = {
      width: this.width,
      height: HEIGHT,
      padding: [6, 44, 0, 52],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 6 } },
      scales: { x: { time: true, range: () => [first, last + step] }, y: { range: (_chart, _min, most) => [0, Math.max(1, most)] } },
      axes: [{ ...axis, size: 20, space: 96, values: (_chart, splits) => labels(splits) }, { show: false }],
      series: [{}, series("--line-strong"), series("--accent")],
      hooks: { setSelect: [(chart) => this.selected(chart)] },
    };
    put(this.box);
    this.chart = new Chart(options, [times, all, pages], this.box);
    const total = all.reduce((sum, each) => sum + each, 0);
    const says = `Incidents over time: ${count(total)} from ${moment(buckets[0][0])} to ${moment(buckets.at(-1)[0] + width)}, at most ${count(Math.max(...all))} in ${duration(width)}`;
    this.box.setAttribute("aria-label", says);
    this.box.title = `${says}. Drag over a stretch to see only that.`;
  }

  selected(chart) {
    const { left, width } = chart.select;
    if (width < 4) return;
    const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    this.onrange(Math.floor(from * 1e6), Math.ceil(to * 1e6));
  }
}
