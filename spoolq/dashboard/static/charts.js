// Draws each <figure class="chart"> from the table in it, which is there for who reads without scripts, or listens.
// The first column is the time, the others are counts, stacked: what went well below, what didn't above it.
(function () {
  "use strict";
  const drawn = new Map(); // the figure's id: its plot, and the text it was drawn from

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function read(figure) {
    const rows = [...figure.querySelectorAll("tbody tr")];
    const columns = [rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000)];
    const width = rows.length ? rows[0].cells.length : 1;
    for (let at = 1; at < width; at++) columns.push(rows.map((row) => Number(row.cells[at].dataset.n)));
    return columns;
  }

  function stacked(columns) {
    const sums = [columns[0]];
    let below = columns[0].map(() => 0);
    for (const column of columns.slice(1)) {
      below = column.map((n, at) => n + below[at]);
      sums.push(below);
    }
    return [sums[0], ...sums.slice(1).reverse()];
  }

  function stripes(hue) { // a pattern, so that the two are told apart without colours
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const pen = tile.getContext("2d");
    pen.strokeStyle = hue;
    pen.lineWidth = 2;
    for (const from of [-6, 0, 6]) { pen.beginPath(); pen.moveTo(from, 6); pen.lineTo(from + 6, 0); pen.stroke(); }
    return pen.createPattern(tile, "repeat");
  }

  function options(figure, names) {
    const hues = (figure.dataset.hues || "accent").split(" ");
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const bars = uPlot.paths.bars({ size: [0.75, 40], align: 1 });
    const days = Number(figure.dataset.step) >= 86400;
    const series = names.map((name, at) => ({
      label: name, stroke: colour(hues[at] || "soft"), width: 1, paths: bars, points: { show: false },
      fill: at ? stripes(colour(hues[at] || "soft")) : colour(hues[at] || "soft"),
    }));
    return {
      width: figure.querySelector(".plot").clientWidth, height: 170, padding: [8, 16, 0, 0],
      cursor: { y: false, points: { show: false } }, legend: { show: false }, select: { show: false },
      axes: [
        {
          ...axis, size: 26, space: 64,
          values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleString("en-GB", days
            ? { day: "numeric", month: "short", timeZone: "UTC" } : { hour: "2-digit", minute: "2-digit", timeZone: "UTC" })),
        },
        { ...axis, size: 46, incrs: [1, 2, 5].flatMap((n) => [...Array(10).keys()].map((power) => n * 10 ** power)).sort((a, b) => a - b), values: (_, splits) => splits.map((n) => n.toLocaleString("en", { notation: n >= 10000 ? "compact" : "standard" })) },
      ],
      scales: { x: { range: () => [Number(figure.dataset.since), Number(figure.dataset.until)] }, y: { range: (_, low, high) => [0, Math.max(4, high * 1.08)] } },
      series: [{}, ...series.reverse()],
    };
  }

  function draw(figure) {
    const table = figure.querySelector("tbody");
    const text = table ? table.textContent : "";
    const old = drawn.get(figure.id);
    const place = figure.querySelector(".plot");
    if (!table || !table.rows.length || typeof uPlot === "undefined") return;
    if (old && old.place === place && old.text === text && place.firstChild) return;
    const columns = read(figure);
    if (old && old.place === place && place.firstChild) old.plot.setData(stacked(columns));
    else {
      place.textContent = "";
      const names = [...figure.querySelectorAll("thead th")].slice(1).map((head) => head.textContent);
      const plot = new uPlot(options(figure, names), stacked(columns), place);
      drawn.set(figure.id, { plot, place, text });
      return;
    }
    old.text = text;
  }

  const all = () => document.querySelectorAll("figure.chart").forEach(draw);
  const anew = () => { drawn.clear(); document.querySelectorAll("figure.chart .plot").forEach((place) => { place.textContent = ""; }); all(); };
  document.addEventListener("DOMContentLoaded", all);
  document.addEventListener("spoolq:fresh", all);
  document.addEventListener("spoolq:theme", anew);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(anew, 200); });
})();
