
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");

  // One box of words for all figures; words only ever become text.
  function showTip(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    const top = y + 16 + box.height > innerHeight ? y - 16 - box.height : y + 16;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, top) + "px";
  }
  const hideTip = () => { tip.hidden = true; };
  const onSvg = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const onScreen = (svg, x, y) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());

  // --- charts: the nearest point, and all that is known of its row
  for (const svg of document.querySelectorAll("svg.plot")) {
    const chart = data.charts[svg.dataset.chart], table = data.tables[chart.table];
    const mark = svg.querySelector(".mark");
    let points = null, at = -1;

    function read() {
      if (points) return;
      points = [];
      svg.querySelectorAll("path[data-series]").forEach((path) => {
        const number = Number(path.dataset.series), rows = chart.series[number].rows;
        [...path.getAttribute("d").matchAll(/M([\d.]+) ([\d.]+)/g)].forEach((found, index) => {
          points.push({ x: Number(found[1]), y: Number(found[2]), series: number, index, row: rows[index] });
        });
      });
      points.sort((one, other) => one.x - other.x);
    }
    function words(row) {
      const lines = [table.labels[row]];
      if (table.notes[row]) lines.push(table.notes[row]);
      for (const series of chart.series) {
        const index = series.rows.indexOf(row);
        if (index >= 0) lines.push(series.name + "  " + series.y[index] + (chart.unit ? " " + chart.unit : ""));
      }
      return lines.join("\n");
    }
    function show(index) {
      at = index;
      const point = points[index];
      mark.setAttribute("d", `M${point.x - 6} ${point.y}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0`);
      const place = onScreen(svg, point.x, point.y);
      showTip(words(point.row), place.x, place.y);
    }
    function leave() { at = -1; mark.setAttribute("d", ""); hideTip(); }

    svg.addEventListener("pointermove", (event) => {
      read();
      const here = onSvg(svg, event);
      let best = -1, least = 40 * 40;
      points.forEach((point, index) => {
        const far = (point.x - here.x) ** 2 + (point.y - here.y) ** 2;
        if (far < least) { least = far; best = index; }
      });
      if (best >= 0) show(best); else leave();
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") leave();
      if (!step) return;
      read();
      event.preventDefault();
      show(Math.min(points.length - 1, Math.max(0, at < 0 && step < 0 ? points.length - 1 : at + step)));
    });
  }

  // --- the sky
  const pad = (value, digits) => String(value).padStart(digits, "0");
  function position(x, y) {
    const frame = data.frame, degree = Math.PI / 180;
    const xi = (x - frame.x) * frame.dx * degree, eta = (y - frame.y) * frame.dy * degree;
    const dec0 = frame.dec * degree, bottom = Math.cos(dec0) - eta * Math.sin(dec0);
    const ra = frame.ra + Math.atan2(xi, bottom) / degree;
    const dec = Math.atan2(Math.sin(dec0) + eta * Math.cos(dec0), Math.hypot(xi, bottom)) / degree;
    const tenths = Math.round((((ra % 360) + 360) % 360) * 2400) % 864000, seconds = Math.round(Math.abs(dec) * 3600);
    const sexagesimal = (value) => [Math.floor(value / 3600), Math.floor(value / 60) % 60, value % 60];
    const [hours, minutes] = sexagesimal(Math.floor(tenths / 10)), [degrees, arcmin, arcsec] = sexagesimal(seconds);
    return `RA ${pad(hours, 2)}h${pad(minutes, 2)}m${pad(((tenths / 10) % 60).toFixed(1), 4)}s  ` +
      `Dec ${dec < 0 ? "\u2212" : "+"}${pad(degrees, 2)}\u00b0${pad(arcmin, 2)}\u2032${pad(arcsec, 2)}\u2033`;
  }
  const marked = (text) => String(text).replace(".", data.mark);
  const number = (value) => (value === null ? "\u2013" : marked(value).replace("-", "\u2212"));
  function seamWords(index) {
    const lines = [data.tables.seams.labels[index]];
    for (const [name, before, after, sigmaBefore, sigmaAfter] of data.seams[index]) {
      lines.push(`${name}  ${number(before)} \u2192 ${number(after)} ADU,  ${number(sigmaBefore)} \u2192 ${number(sigmaAfter)} \u03c3`);
    }
    return lines.join("\n");
  }
  function inside(polygon, x, y) {
    let odd = false;
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
      const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
    }
    return odd;
  }
  function polygonsOf(path) {
    return path.getAttribute("d").split("Z").filter(Boolean)
      .map((text) => text.slice(1).split("L").map((pair) => pair.split(" ").map(Number)));
  }
  // Values of the mosaic in blocks of pixels, plane by plane, the bytes of a number in planes of their own.
  let valuesAt = null;
  async function readValues() {
    const { bytes, width, height, planes } = data.values;
    const packed = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const raw = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = width * height, all = size * planes.length;
    valuesAt = (place) => planes.map((_, plane) => {
      const at = plane * size + place;
      return raw[at] | (raw[all + at] << 8) | (raw[2 * all + at] << 16) | (raw[3 * all + at] << 24);
    });
  }
  // A browser without it tells positions alone.
  if (data.values && "DecompressionStream" in window) readValues();
  function valueText(x, y) {
    const { block, width, height, planes } = data.values;
    const column = Math.floor(x / block), row = Math.floor((data.frame.height - y) / block);
    if (column < 0 || row < 0 || column >= width || row >= height) return "";
    const found = valuesAt(row * width + column), missing = -(2 ** 31);
    const texts = planes.map((plane, index) => found[index] === missing ? "" : (found[index] * plane.step).toFixed(plane.digits));
    const subs = texts.pop(), colours = texts.map((text, index) => `${planes[index].name} ${number(text)}`);
    const value = texts.some(Boolean) ? `${colours.join("  ")} ADU` : data.words["no data"];
    const about = block > 1 && subs !== "0" ? `${data.words.about} ` : "";
    return `${value}   ${about}${marked(subs)} ${subs === "1" ? data.words.sub : data.words.subs}`;
  }

  for (const svg of document.querySelectorAll("svg[data-sky]")) {
    const figure = svg.closest("figure"), readout = figure.querySelector(".readout");
    const whole = svg.getAttribute("viewBox").split(" ").map(Number);
    const least = Number(svg.dataset.least || 1 / 64);  // the smallest part of the figure that a view shows
    const isMap = svg.dataset.sky === "map";
    let view = [...whole];
    const held = new Map();  // fingers or the mouse, by their number: where each is on the screen
    const hasValues = data.values && (isMap || svg.querySelector("image"));
    const found = svg.querySelector(".found");
    const groups = [...svg.querySelectorAll("path[data-group]")];
    let polygons = null;

    function look(next) {
      const size = Math.min(1, Math.max(least, next[2] / whole[2]));
      const width = whole[2] * size, height = whole[3] * size;
      view = [Math.min(Math.max(next[0], 0), whole[2] - width), Math.min(Math.max(next[1], 0), whole[3] - height), width, height];
      svg.setAttribute("viewBox", view.map((value) => value.toFixed(2)).join(" "));
      svg.classList.toggle("near", size < 1);
      fit();
      svg.dispatchEvent(new CustomEvent("look"));
    }
    // Letters keep their size on the screen.
    function fit() {
      const scale = svg.getScreenCTM();
      if (scale && scale.a > 0) svg.setAttribute("font-size", (12.5 / scale.a).toFixed(3));
    }
    function zoom(factor, x = view[0] + view[2] / 2, y = view[1] + view[3] / 2) {
      const real = Math.min(1, Math.max(least, (view[2] * factor) / whole[2])) * whole[2] / view[2];
      look([x - (x - view[0]) * real, y - (y - view[1]) * real, view[2] * real, view[3] * real]);
    }
    const move = (x, y) => look([view[0] + x, view[1] + y, view[2], view[3]]);

    function hover(event) {
      const here = onSvg(svg, event), [x, y] = [here.x, here.y];
      if (x < 0 || y < 0 || x >= whole[2] || y >= whole[3]) return leave();
      let text = `${position(x, y)}   ${data.words.pixel} ${Math.floor(x)}, ${Math.floor(data.frame.height - y)}`;
      if (hasValues && valuesAt) text += `\n${valueText(x, y)}`;
      if (found) text += `   ${subsAt(x, y, event)}`;
      readout.textContent = text;
      const target = event.target;
      if (target.dataset && target.dataset.seam) showTip(seamWords(Number(target.dataset.seam)), event.clientX, event.clientY);
      else if (target.dataset && target.dataset.tile) showTip(target.dataset.tile, event.clientX, event.clientY);
      else if (!found) hideTip();
    }
    function subsAt(x, y, event) {
      polygons = polygons || groups.map(polygonsOf);
      const rows = [];
      let outlines = "";
      polygons.forEach((list, group) => list.forEach((polygon, index) => {
        if (!inside(polygon, x, y)) return;
        rows.push(data.outlines[group][index]);
        if (rows.length <= 12) outlines += "M" + polygon.map((pair) => pair.join(" ")).join("L") + "Z";
      }));
      found.setAttribute("d", outlines);
      if (rows.length) {
        const names = rows.slice(0, 12).map((row) => data.tables.subs.labels[row]);
        if (rows.length > 12) names.push(data.words["and {n} more"].replace("{n}", rows.length - 12));
        showTip(names.join("\n"), event.clientX, event.clientY);
      } else hideTip();
      return `${rows.length} ${rows.length === 1 ? data.words.sub : data.words.subs}`;
    }
    function leave() { readout.textContent = "\u00a0"; hideTip(); if (found) found.setAttribute("d", ""); }

    svg.addEventListener("wheel", (event) => {
      if (!isMap && !event.ctrlKey && !svg.matches(":focus")) return;  // a page that is scrolled does not zoom by accident
      event.preventDefault();
      const here = onSvg(svg, event);
      zoom(Math.exp(event.deltaY * 0.0016), here.x, here.y);
    }, { passive: false });
    svg.addEventListener("dblclick", (event) => { const here = onSvg(svg, event); zoom(0.5, here.x, here.y); });
    // Middle of the fingers on the screen, and how far they are apart.
    function grip() {
      const places = [...held.values()], middle = (axis) => places.reduce((sum, at) => sum + at[axis], 0) / places.length;
      const apart = places.length > 1 ? Math.hypot(places[0].clientX - places[1].clientX, places[0].clientY - places[1].clientY) : 0;
      return { clientX: middle("clientX"), clientY: middle("clientY"), apart };
    }
    function drag(event) {
      const before = grip(), from = onSvg(svg, before);
      held.set(event.pointerId, { clientX: event.clientX, clientY: event.clientY });
      const after = grip();
      // What was under the fingers stays under them.
      if (before.apart > 0 && after.apart > 0) zoom(before.apart / after.apart, from.x, from.y);
      const to = onSvg(svg, after);
      move(from.x - to.x, from.y - to.y);
      hideTip();
    }
    svg.addEventListener("pointerdown", (event) => {
      svg.focus({ preventScroll: true });
      held.set(event.pointerId, { clientX: event.clientX, clientY: event.clientY });
      svg.setPointerCapture(event.pointerId);
      svg.classList.add("held");
      if (event.pointerType !== "mouse") hover(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!event.buttons) held.delete(event.pointerId);  // let go where nobody heard it
      if (held.has(event.pointerId)) drag(event); else hover(event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      svg.addEventListener(name, (event) => {
        held.delete(event.pointerId);
        if (!held.size) svg.classList.remove("held");
      });
    }
    // A second finger is for the figure, whatever the first one began to scroll.
    svg.addEventListener("touchmove", (event) => { if (event.touches.length > 1) event.preventDefault(); }, { passive: false });
    // A finger that is lifted leaves its words, or nobody could read them.
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "touch") hideTip(); else leave(); });
    svg.addEventListener("keydown", (event) => {
      const step = view[2] / 8;
      const act = { "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), 0: () => look(whole),
        ArrowLeft: () => move(-step, 0), ArrowRight: () => move(step, 0), ArrowUp: () => move(0, -step), ArrowDown: () => move(0, step) }[event.key];
      if (act && !event.ctrlKey && !event.metaKey) { event.preventDefault(); act(); }
    });
    figure.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
      ({ in: () => zoom(0.6), out: () => zoom(1 / 0.6), all: () => look(whole) })[button.dataset.zoom]();
    }));
    new ResizeObserver(fit).observe(svg);
  }

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
