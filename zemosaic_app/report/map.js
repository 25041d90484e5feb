
// --- the map: tiles, lines and names that suit the view
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const svg = document.querySelector("svg[data-sky=map]"), map = data.map, frame = data.frame;
  const degree = Math.PI / 180, space = "http://www.w3.org/2000/svg";
  const last = map.levels.length - 1, mostTiles = 600, mostNames = 40;
  const drawn = new Map();  // images by "level/row_column", the longest unseen first

  // The part of the mosaic that is seen, and pixels of the screen for one of the mosaic.
  function seen() {
    const back = svg.getScreenCTM().inverse(), box = svg.getBoundingClientRect();
    const from = new DOMPoint(box.left, box.top).matrixTransform(back);
    const to = new DOMPoint(box.right, box.bottom).matrixTransform(back);
    return { left: from.x, top: from.y, right: to.x, bottom: to.y, scale: svg.getScreenCTM().a };
  }

  // --- tiles: those of the level whose pixels are not larger than the screen's, above the coarser ones
  const groups = map.levels.map(() => document.createElementNS(space, "g"));
  [...groups].reverse().forEach((group) => svg.querySelector("[data-layer=mosaic]").append(group));

  function tileAt(level, row, column) {
    const name = `${level}/${row}_${column}`;
    let image = drawn.get(name);
    if (!image) {
      const size = map.tile * 2 ** level, across = Math.ceil(map.width / 2 ** level), down = Math.ceil(map.height / 2 ** level);
      image = document.createElementNS(space, "image");
      image.setAttribute("href", `${name}.jpg`);
      image.setAttribute("preserveAspectRatio", "none");
      image.setAttribute("x", column * size);
      image.setAttribute("y", row * size);
      image.setAttribute("width", Math.min(map.tile, across - column * map.tile) * 2 ** level);
      image.setAttribute("height", Math.min(map.tile, down - row * map.tile) * 2 ** level);
      groups[level].append(image);
    }
    drawn.delete(name);
    drawn.set(name, image);
  }
  function drawTiles(view) {
    const wanted = Math.floor(Math.log2(1 / (view.scale * devicePixelRatio)));
    const finest = Math.min(last, Math.max(0, wanted));
    for (let level = last; level >= finest; level -= 1) {
      const size = map.tile * 2 ** level, rows = map.levels[level];
      for (let row = Math.max(0, Math.floor(view.top / size)); row < rows.length && row * size < view.bottom; row += 1)
        for (let column = Math.max(0, Math.floor(view.left / size)); column < rows[row].length && column * size < view.right; column += 1)
          if (rows[row][column] === "1") tileAt(level, row, column);
    }
    groups.forEach((group, level) => { group.toggleAttribute("hidden", level < finest); });
    svg.classList.toggle("pixels", view.scale * devicePixelRatio > 3);
    for (const [name, image] of drawn) {
      if (drawn.size <= mostTiles) break;
      image.remove();
      drawn.delete(name);
    }
  }

  // --- lines of right ascension and declination
  function place(ra, dec) {
    const away = (ra - frame.ra) * degree, dec0 = frame.dec * degree, at = dec * degree;
    const depth = Math.sin(at) * Math.sin(dec0) + Math.cos(at) * Math.cos(dec0) * Math.cos(away);
    if (depth < 0.05) return null;
    const xi = Math.cos(at) * Math.sin(away) / depth;
    const eta = (Math.sin(at) * Math.cos(dec0) - Math.cos(at) * Math.sin(dec0) * Math.cos(away)) / depth;
    return [frame.x + xi / degree / frame.dx, frame.y + eta / degree / frame.dy];
  }
  function skyAt(x, y) {
    const xi = (x - frame.x) * frame.dx * degree, eta = (y - frame.y) * frame.dy * degree, dec0 = frame.dec * degree;
    const bottom = Math.cos(dec0) - eta * Math.sin(dec0);
    return [frame.ra + Math.atan2(xi, bottom) / degree, Math.atan2(Math.sin(dec0) + eta * Math.cos(dec0), Math.hypot(xi, bottom)) / degree];
  }
  const spacings = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 18000, 36000, 54000, 108000];  // arcseconds, or 1/15 s
  const pad = (value) => String(value).padStart(2, "0");
  function raText(ra) {
    const tenths = Math.round((((ra % 360) + 360) % 360) * 2400) % 864000, seconds = (tenths / 10) % 60;
    return `${pad(Math.floor(tenths / 36000))}h${pad(Math.floor(tenths / 600) % 60)}m${seconds ? `${seconds}s` : ""}`;
  }
  function decText(dec) {
    const seconds = Math.round(Math.abs(dec) * 3600);
    return `${dec < 0 ? "\u2212" : "+"}${Math.floor(seconds / 3600)}\u00b0${pad(Math.floor(seconds / 60) % 60)}\u2032${seconds % 60 ? `${pad(seconds % 60)}\u2033` : ""}`;
  }
  function drawGraticule(view) {
    const layer = svg.querySelector("[data-layer=graticule]");
    layer.replaceChildren();
    const sides = [...Array(13).keys()].map((step) => step / 12);
    const places = sides.flatMap((u) => sides.map((v) =>
      skyAt(view.left + u * (view.right - view.left), view.top + v * (view.bottom - view.top))));
    const range = (axis) => [Math.min(...places.map((one) => one[axis])), Math.max(...places.map((one) => one[axis]))];
    const ra = range(0), dec = range(1);
    if (Math.max(Math.abs(dec[0]), Math.abs(dec[1])) > 88 || ra[1] - ra[0] > 180) return;
    let d = "";
    for (const [axis, [low, high], [from, to]] of [[0, ra, dec], [1, dec, ra]]) {
      const fine = (axis ? 1 : 15) / 3600, spacing = fine * (spacings.find((one) => (high - low) / (one * fine) <= 6) || 108000);
      for (let line = Math.ceil(low / spacing); line * spacing <= high; line += 1) {
        const along = sides.map((u) => from + u * (to - from));
        const points = along.map((at) => (axis ? place(at, line * spacing) : place(line * spacing, at)));
        if (points.some((one) => !one)) continue;
        d += "M" + points.map((one) => `${one[0].toFixed(2)} ${one[1].toFixed(2)}`).join("L");
        label(layer, axis, line * spacing, points, view);
      }
    }
    const lines = document.createElementNS(space, "path");
    lines.setAttribute("class", "graticule");
    lines.setAttribute("d", d);
    layer.prepend(lines);
  }
  // Where a line meets the lower (right ascension) or left (declination) edge of the view.
  function label(layer, axis, value, points, view) {
    const edge = axis ? view.left : view.bottom, across = axis ? 0 : 1;
    for (let index = 1; index < points.length; index += 1) {
      const [one, other] = [points[index - 1], points[index]];
      if ((one[across] - edge) * (other[across] - edge) > 0) continue;
      const share = (edge - one[across]) / (other[across] - one[across] || 1);
      const at = [0, 1].map((side) => one[side] + share * (other[side] - one[side]));
      const text = document.createElementNS(space, "text");
      text.setAttribute("class", `sky-label ${axis ? "dec" : "ra"}`);
      text.setAttribute("x", at[0]);
      text.setAttribute("y", at[1]);
      text.setAttribute(axis ? "dx" : "dy", axis ? "0.5em" : "-0.5em");
      if (axis) text.setAttribute("dy", "-0.3em");
      text.textContent = axis ? decText(value) : raText(value);
      layer.append(text);
      return;
    }
  }

  // --- names: the most prominent ones of those in view
  const names = [...svg.querySelectorAll("[data-layer=names] .names > g")];
  function drawNames(view) {
    let shown = 0;
    for (const one of names) {
      const x = Number(one.dataset.x), y = Number(one.dataset.y);
      const fits = x > view.left && x < view.right && y > view.top && y < view.bottom && shown < mostNames;
      one.toggleAttribute("hidden", !fits);
      if (!fits) continue;
      shown += 1;
      // Above its outline, or at its centre where that is out of view.
      const text = one.querySelector("text"), top = y - Number(one.dataset.top);
      text.setAttribute("y", top > view.top + 20 / view.scale ? top : y);
    }
  }

  let waiting = false;
  function draw() {
    waiting = false;
    const view = seen();
    if (!(view.scale > 0)) return;
    drawTiles(view);
    drawGraticule(view);
    drawNames(view);
  }
  function drawSoon() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }
  svg.addEventListener("look", drawSoon);
  new ResizeObserver(drawSoon).observe(svg);
  document.querySelectorAll("input[data-shows]").forEach((box) => {
    const layer = svg.querySelector(`[data-layer=${box.dataset.shows}]`);
    const show = () => layer.toggleAttribute("hidden", !box.checked);
    box.addEventListener("change", show);
    show();
  });
})();
