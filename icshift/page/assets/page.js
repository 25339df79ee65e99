// @ts-check
// Draws what the page's data say: decodes, draws, filters, sorts, selects. It computes no number that it shows.
"use strict";
(() => {
  const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
  const whole = JSON.parse($("meta").textContent);
  /** @type {any} The run that is shown, see `use`. */ let meta;
  /** @type {any} */ let scale;
  /** @type {any} */ let windows;
  /** @type {any[]} */ let sites;
  let unit = "";
  const [ABSENT, NOT_FINITE, CONSTANT, UNKNOWN, CHANCE] = [0, 1, 2, 3, 4];
  const PAD = 12, LABELS = 46, FONT = "12px system-ui, 'DejaVu Sans', sans-serif";

  // Bytes

  function bytes(/** @type {string} */ text) {
    const letters = atob(text), found = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) found[i] = letters.charCodeAt(i);
    return found;
  }
  const floats = (/** @type {string} */ text) => new Float32Array(bytes(text).buffer);

  /** Makes one of the runs the one that is shown; nothing of the one before is left. */
  function use(/** @type {number} */ run) {
    meta = whole.runs[run];
    ({ scale, windows } = meta);
    unit = meta.unit === "share" || meta.unit === "0 to 1" ? "" : ` ${meta.unit}`;
    sites = meta.sites.map((/** @type {any} */ one, /** @type {number} */ id) => ({
      ...one, id, drift: floats(one.drift), floor: floats(one.floor), ratio: floats(one.ratio), moved: floats(one.moved), parts: floats(one.parts),
    }));
    held.clear();
    opened = null;
    Object.assign(state, { run, site: -1, unit: -1, at: { site: 0, window: Math.max(meta.window, 0) }, unitAt: { place: 0, column: 0 } });
  }

  /** Reads one array after another from a block. */
  function reader(/** @type {Uint8Array} */ raw) {
    let at = 0;
    return (/** @type {any} */ Kind, /** @type {number} */ count) => {
      const size = Kind.BYTES_PER_ELEMENT * count;
      const part = raw.slice(at, at + size);
      at += size;
      return new Kind(part.buffer);
    };
  }

  /** @type {Map<number, Promise<any>>} */
  const held = new Map();
  const HELD = 48;
  function load(/** @type {number} */ id) {
    const known = held.get(id) ?? unpack(id);
    held.delete(id);
    held.set(id, known);
    if (held.size > HELD) held.delete(/** @type {number} */ (held.keys().next().value));
    return known;
  }

  async function unpack(/** @type {number} */ id) {
    const packed = bytes($(`s${meta.first + id}`).textContent.trim());
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const take = reader(new Uint8Array(await new Response(stream).arrayBuffer()));
    const size = sites[id].block_of, count = windows.length;
    const units = { ids: take(Uint32Array, size.kept), worst: take(Float32Array, size.kept), at: take(Int16Array, size.kept) };
    const codes = take(Uint8Array, size.columns * size.kept);
    for (let i = size.kept; i < codes.length; i++) codes[i] += codes[i - size.kept];
    const fans = { places: take(Uint16Array, size.fans), ends: take(Float32Array, 2 * size.fans), codes: take(Uint16Array, size.fans * count * 5) };
    const dense = {
      places: take(Uint16Array, size.densities), windows: take(Uint16Array, size.ridges), ends: take(Float32Array, 2 * size.densities),
      heights: take(Uint8Array, size.densities * size.ridges * 16),
    };
    const series = { steps: take(Uint32Array, size.steps), ends: take(Float32Array, 2), codes: take(Uint16Array, size.steps * 5) };
    return { ...units, codes, columns: size.columns, fans, dense, series };
  }

  // Words

  function number(/** @type {number} */ value) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    return size >= 0.001 && size < 100 ? value.toFixed(3) : String(Number(value.toPrecision(3)));
  }
  const times = (/** @type {number} */ v) => (Number.isFinite(v) ? (v < 100 ? v.toFixed(1) : v.toFixed(0)) : "–");
  const share = (/** @type {number} */ v) => (Number.isFinite(v) ? `${(100 * v).toFixed(0)} %` : "–");
  const windowName = (/** @type {number} */ w) => `window ${windows[w][1]} (steps ${windows[w][2]} to ${windows[w][3]})`;

  function cellInWords(/** @type {any} */ site, /** @type {number} */ w) {
    const said = [`${site.name}, ${windowName(w)}`], code = site.codes[w];
    if (code === ABSENT || code === NOT_FINITE || code === CONSTANT) said.push(scale.states[code][1]);
    else {
      const floor = Number.isFinite(site.floor[w]) && scale.ofFloor ? `, floor ${number(site.floor[w])}, ${times(site.ratio[w])} times its floor` : "";
      said.push(`drift ${number(site.drift[w])}${unit}${floor}`);
      if (site.why[w]) said.push(`whether it moved cannot be told: ${site.why[w]}`);
      else if (code === CHANCE || code === UNKNOWN) said.push(scale.states[code][1]);
      else said.push(`${share(site.moved[w])} of its units moved`);
    }
    for (const [name, what] of [["dead", "dead"], ["constant", "near-constant"], ["nonfinite", "not finite"]])
      if (site[name][w] > 0) said.push(`${site[name][w]} of its units ${what}`);
    return `${said.join("; ")}.`;
  }

  function make(/** @type {string} */ tag, /** @type {any} */ given = {}, /** @type {any[]} */ ...children) {
    const element = Object.assign(document.createElement(tag), given);
    element.append(...children);
    return element;
  }

  // Colours

  /** @type {string[]} */
  let ramp = [];
  /** @type {number[][]} */
  let levels = [];
  /** @type {Record<string, string>} */
  let ink = {};
  function colours() {
    stripes = null;
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "panel", "ink", "quiet", "line", "accent", "mark", "hatch", "absent", "band"])
      ink[name] = style.getPropertyValue(`--${name}`).trim();
    const anchors = whole.palettes[$("palette").value].map((/** @type {string} */ hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    levels = Array.from({ length: whole.levels }, (_, level) => {
      const place = (level / (whole.levels - 1)) * (anchors.length - 1), low = Math.min(Math.floor(place), anchors.length - 2);
      return [0, 1, 2].map((i) => Math.round(anchors[low][i] + (place - low) * (anchors[low + 1][i] - anchors[low][i])));
    });
    ramp = levels.map((level) => `rgb(${level.join(",")})`);
  }

  /** A canvas's context for pictures of so many CSS pixels. */
  function sheet(/** @type {HTMLCanvasElement} */ canvas, /** @type {number} */ width, /** @type {number} */ height) {
    const dense = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.font = FONT;
    pen.textBaseline = "middle";
    return pen;
  }

  /** @type {HTMLCanvasElement | null} */
  let stripes = null;
  /** Stripes over a ground: a pattern, since a clipped path a cell would take most of the time. */
  function hatch(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ h) {
    stripes ??= striped();
    pen.fillStyle = Math.min(w, h) < 6 ? ink.absent : /** @type {CanvasPattern} */ (pen.createPattern(stripes, "repeat"));
    pen.fillRect(x, y, w, h);
  }

  function striped() {
    const tile = make("canvas", { width: 6, height: 6 }), pen = tile.getContext("2d");
    pen.fillStyle = ink.absent;
    pen.fillRect(0, 0, 6, 6);
    pen.strokeStyle = ink.hatch;
    pen.beginPath();
    for (const d of [-6, 0, 6]) {
      pen.moveTo(d - 1, 7);
      pen.lineTo(d + 7, -1);
    }
    pen.stroke();
    return tile;
  }

  function cell(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ code, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ h) {
    if (code >= whole.lowest) {
      pen.fillStyle = ramp[code - whole.lowest];
      pen.fillRect(x, y, w, h);
    } else if (code === CHANCE) hatch(pen, x, y, w, h);
    else if (code !== ABSENT) {
      pen.fillStyle = ink.absent;
      pen.fillRect(x, y, w, h);
      glyph(pen, code === UNKNOWN ? "?" : code === NOT_FINITE ? "!" : "=", x, y, w, h, code === NOT_FINITE ? ink.mark : ink.quiet);
    }
  }

  /** Cells too small for a hatch or a sign, as one picture of a pixel a cell: a rectangle a cell takes ten times as long. */
  function small(/** @type {CanvasRenderingContext2D} */ pen, /** @type {Uint8Array} */ codes, /** @type {number} */ columns, /** @type {number} */ rows, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ wide, /** @type {number} */ high) {
    if (!columns || !rows) return;
    const tile = make("canvas", { width: columns, height: rows }), brush = tile.getContext("2d"), picture = brush.createImageData(columns, rows);
    const other = [1, 3, 5].map((i) => parseInt(ink.absent.slice(i, i + 2), 16));
    codes.forEach((code, at) => {
      if (code === ABSENT) return;
      picture.data.set([...(code >= whole.lowest ? levels[code - whole.lowest] : other), 255], 4 * at);
    });
    brush.putImageData(picture, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(tile, x, y, columns * wide, rows * high);
  }

  function glyph(/** @type {CanvasRenderingContext2D} */ pen, /** @type {string} */ sign, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ h, /** @type {string} */ colour) {
    pen.fillStyle = colour;
    if (Math.min(w, h) < 8) {
      pen.fillRect(x + w / 2 - 1, y + h / 2 - 1, 2, 2);
      return;
    }
    pen.save();
    pen.textAlign = "center";
    pen.font = `bold ${Math.min(12, h - 1)}px system-ui, 'DejaVu Sans', sans-serif`;
    pen.fillText(sign, x + w / 2, y + h / 2 + 0.5);
    pen.restore();
  }

  function frame(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ h) {
    pen.lineWidth = 2;
    pen.strokeStyle = ink.ink;
    pen.strokeRect(x - 1, y - 1, w + 2, h + 2);
    pen.lineWidth = 1;
    pen.strokeStyle = ink.ground;
    pen.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
  }

  /** The text, its middle left out where it is too wide. */
  function elided(/** @type {CanvasRenderingContext2D} */ pen, /** @type {string} */ text, /** @type {number} */ width) {
    if (pen.measureText(text).width <= width) return text;
    const letters = Array.from(text);
    for (let keep = letters.length - 1; keep > 1; keep--) {
      const tail = Math.ceil(keep * 0.6);
      const short = `${letters.slice(0, keep - tail).join("")}…${letters.slice(-tail).join("")}`;
      if (pen.measureText(short).width <= width) return short;
    }
    return "…";
  }

  // State: by id, never by row

  const state = { run: 0, site: -1, unit: -1, at: { site: 0, window: 0 }, unitAt: { place: 0, column: 0 } };
  let shown = /** @type {number[]} */ ([]);
  /** @type {any} */ let atlas = null;
  /** @type {any} */ let grid = null;
  /** @type {any} */ let opened = null;

  const far = (/** @type {any} */ site, /** @type {number} */ w) => (scale.ofFloor ? site.ratio[w] : site.drift[w]);
  const worst = (/** @type {any} */ site) => site.codes.reduce((/** @type {number} */ top, /** @type {number} */ code, /** @type {number} */ w) => Math.max(top, code > CHANCE && far(site, w) > top ? far(site, w) : top), -1);
  const ORDERS = /** @type {Record<string, (a: any, b: any) => number>} */ ({
    model: (a, b) => a.id - b.id,
    worst: (a, b) => worst(b) - worst(a) || a.id - b.id,
    last: (a, b) => (far(b, windows.length - 1) || -1) - (far(a, windows.length - 1) || -1) || a.id - b.id,
    onset: (a, b) => (a.onset ?? Infinity) - (b.onset ?? Infinity) || a.id - b.id,
    name: (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  });
  const KEPT = /** @type {Record<string, (s: any) => boolean>} */ ({
    all: () => true,
    moved: (s) => s.moved.some((/** @type {number} */ v) => v > 0),
    trouble: (s) => [s.dead, s.constant, s.nonfinite].some((counts) => counts.some((/** @type {number} */ n) => n > 0)),
    left: (s) => s.onset !== null,
  });

  function choose() {
    const wanted = $("search").value.trim().toLowerCase(), keep = KEPT[$("only").value];
    const matching = (/** @type {any} */ s) => `${s.name} ${s.type}`.toLowerCase().includes(wanted);
    shown = sites.filter((/** @type {any} */ s) => keep(s) && matching(s)).sort(ORDERS[$("order").value]).map((/** @type {any} */ s) => s.id);
    if (!shown.includes(state.at.site)) state.at.site = shown[0] ?? -1;
    const names = new Set(shown.map((id) => sites[id].name));
    for (const row of document.querySelectorAll("tr[data-site]"))
      /** @type {HTMLElement} */ (row).hidden = !names.has(/** @type {HTMLElement} */ (row).dataset.site);
    $("count").textContent = `${shown.length} of ${sites.length} sites.`;
    drawAtlas();
  }

  // Atlas

  /** How many windows share a column, so that it is 3 pixels wide at least. */
  const sharing = (/** @type {number} */ width, /** @type {number} */ count) => Math.max(1, Math.ceil((3 * count) / Math.max(width, 1)));

  /** The width of the longest name; of all sites, so that the atlas keeps its place when some are filtered. */
  function labelled() {
    const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    pen.font = FONT;
    const names = [...sites.map((/** @type {any} */ site) => pen.measureText(site.name + (site.affine ? " †" : "")).width), ...meta.lines.slice(0, 1).map((/** @type {any} */ line) => pen.measureText(line.name).width + 64)];
    return 14 + Math.max(0, ...names);
  }

  function drawAtlas() {
    const canvas = $("atlas"), width = canvas.parentElement.clientWidth;
    const label = Math.round(Math.min(280, width * 0.34, Math.max(labelled(), 96))), inner = width - label - PAD;
    const group = sharing(inner, windows.length), columns = Math.ceil(windows.length / group), wide = inner / Math.max(columns, 1);
    const parts = $("view").value === "parts", high = parts ? (shown.length > 40 ? 20 : 34) : shown.length > 40 ? 14 : 20, strip = meta.lines.length ? 58 : 0, top = strip + LABELS;
    const height = top + Math.max(shown.length, 1) * high + PAD;
    const pen = sheet(canvas, width, height);
    atlas = { label, group, columns, wide, high, top };
    if (strip) drawLine(pen, meta.lines[0], label, inner, strip);
    windowAxis(pen, label, strip, columns, group, wide);
    if (!shown.length) {
      pen.fillStyle = ink.quiet;
      pen.fillText("no site is shown: change search or filter", 0, top + high / 2);
    }
    shown.forEach((id, row) => (parts ? drawParts : drawRow)(pen, sites[id], top + row * high, row));
    atlas.still = copied(canvas);
    mark();
    canvas.setAttribute("aria-label", `${$("h-atlas").textContent}: ${shown.length} sites by ${windows.length} windows, ${parts ? whole.parts.title : scale.label}. Arrow keys move, Enter opens a site.`);
  }

  /** Where the reader is, and which site is open, over the atlas as it was drawn: cells are drawn once. */
  function mark() {
    const canvas = $("atlas"), pen = canvas.getContext("2d"), { label, group, columns, wide, high, top } = atlas;
    restored(canvas, atlas.still);
    const open = shown.indexOf(state.site), row = shown.indexOf(state.at.site);
    pen.fillStyle = ink.accent;
    if (open >= 0) pen.fillRect(label - 6, top + open * high, 4, high - 1);
    if (row >= 0 && columns) frame(pen, label + Math.floor(state.at.window / group) * wide, top + row * high, wide, high);
  }

  function copied(/** @type {HTMLCanvasElement} */ canvas) {
    const copy = make("canvas", { width: canvas.width, height: canvas.height });
    copy.getContext("2d").drawImage(canvas, 0, 0);
    return copy;
  }

  function restored(/** @type {HTMLCanvasElement} */ canvas, /** @type {HTMLCanvasElement} */ still) {
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(still, 0, 0);
    pen.restore();
  }

  /** The name of a row, and a line above it where a block begins. */
  function labelRow(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ site, /** @type {number} */ y, /** @type {number} */ row) {
    const { label, columns, wide, high } = atlas, dagger = site.affine ? " †" : "";
    pen.fillStyle = ink.ink;
    pen.textAlign = "left";
    pen.fillText(elided(pen, site.name, label - 10 - pen.measureText(dagger).width) + dagger, 2, y + high / 2 + 0.5);
    if ($("order").value !== "model" || !row || sites[shown[row - 1]].block === site.block) return;
    pen.fillStyle = ink.hatch;
    pen.fillRect(0, y - 1, label + columns * wide, 1);
  }

  function drawRow(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ site, /** @type {number} */ y, /** @type {number} */ row) {
    const { label, group, columns, wide, high } = atlas;
    labelRow(pen, site, y, row);
    for (let c = 0; c < columns; c++) {
      const x = label + c * wide, first = c * group, last = Math.min(first + group, windows.length);
      let code = 0, bad = 0, unknown = false, constant = 0, dead = 0;
      for (let w = first; w < last; w++) {
        code = Math.max(code, site.codes[w]);
        bad = Math.max(bad, site.nonfinite[w]);
        dead = Math.max(dead, site.dead[w]);
        constant = Math.max(constant, site.constant[w]);
        unknown ||= Boolean(site.why[w]);
      }
      const gap = wide > 8 ? 1 : 0;
      cell(pen, code, x, y, wide - gap, high - 1);
      if (unknown && code >= whole.lowest && wide >= 10) badge(pen, "?", x + wide / 2, y + high / 2);
      if (bad > 0 && code !== NOT_FINITE) badge(pen, "!", x + wide / 2, y + high / 2);
      if (dead > 0) dot(pen, x + 4, y + high - 5);
      if (constant > 0 && wide >= 6) bar(pen, x + wide - gap - 5, y + high - 5);
    }
    if (site.onset !== null) triangle(pen, label + stepPlace(site.onset) * wide / group, y);
  }

  /** The place of a step along the windows: 1.5 is the middle of the second one. */
  function stepPlace(/** @type {number} */ step) {
    const at = windows.findIndex((/** @type {any} */ w) => step <= w[3]);
    if (at < 0) return windows.length;
    return at + Math.max(0, (step - windows[at][2] + 0.5) / (windows[at][3] - windows[at][2] + 1));
  }

  function badge(/** @type {CanvasRenderingContext2D} */ pen, /** @type {string} */ sign, /** @type {number} */ x, /** @type {number} */ y) {
    pen.fillStyle = ink.ground;
    pen.fillRect(x - 4, y - 6, 8, 12);
    glyph(pen, sign, x - 6, y - 6, 12, 12, sign === "!" ? ink.mark : ink.ink);
  }

  function dot(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y) {
    for (const [radius, colour] of /** @type {[number, string][]} */ ([[3, ink.ground], [2, ink.ink]])) {
      pen.fillStyle = colour;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fill();
    }
  }

  function bar(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y) {
    pen.fillStyle = ink.ground;
    pen.fillRect(x - 2, y - 1, 7, 4);
    pen.fillStyle = ink.ink;
    pen.fillRect(x - 1, y, 5, 2);
  }

  function triangle(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y) {
    pen.beginPath();
    pen.moveTo(x - 5, y);
    pen.lineTo(x + 5, y);
    pen.lineTo(x, y + 8);
    pen.closePath();
    pen.fillStyle = ink.mark;
    pen.fill();
    pen.strokeStyle = ink.ground;
    pen.lineWidth = 1;
    pen.stroke();
  }

  function windowAxis(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ columns, /** @type {number} */ group, /** @type {number} */ wide) {
    pen.fillStyle = ink.quiet;
    pen.textAlign = "left";
    const title = `window${group > 1 ? ` (${group} a column, the farthest)` : ""}`;
    pen.fillText(elided(pen, title, columns * wide), x, y + 9);
    pen.textAlign = "center";
    let free = x - 1e3;
    for (let c = 0; c < columns; c++) {
      const name = elided(pen, windows[c * group][1], 80), half = pen.measureText(name).width / 2, middle = x + (c + 0.5) * wide;
      if (middle - half < free + 8 || middle + half > x + columns * wide + PAD) continue;
      pen.fillText(name, middle, y + 27);
      pen.fillRect(middle - 0.5, y + 36, 1, 5);
      free = middle + half;
    }
  }

  function drawLine(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ line, /** @type {number} */ left, /** @type {number} */ inner, /** @type {number} */ height) {
    const known = line.values.filter((/** @type {any} */ v) => v !== null);
    if (!known.length) return;
    const low = Math.min(...known), high = Math.max(...known), span = high - low || 1;
    const y = (/** @type {number} */ v) => height - 10 - ((v - low) / span) * (height - 22);
    pen.fillStyle = ink.ink;
    pen.textAlign = "left";
    pen.fillText(elided(pen, line.name, left - 64), 2, height / 2);
    pen.fillStyle = ink.quiet;
    pen.textAlign = "right";
    pen.fillText(number(high), left - 6, y(high));
    if (high > low) pen.fillText(number(low), left - 6, y(low));
    pen.strokeStyle = ink.accent;
    pen.lineWidth = 2;
    pen.beginPath();
    let down = false;
    line.values.forEach((/** @type {any} */ v, /** @type {number} */ w) => {
      const x = left + ((w + 0.5) / windows.length) * inner;
      if (v === null) down = false;
      else if (down) pen.lineTo(x, y(v));
      else {
        pen.moveTo(x, y(v));
        if (line.values[w + 1] == null) pen.lineTo(x + 0.01, y(v));
        down = true;
      }
    });
    pen.lineCap = "round";
    pen.stroke();
  }

  function legend() {
    const box = $("legend");
    box.replaceChildren();
    if ($("view").value === "parts") {
      box.append(...legendOfParts());
      return;
    }
    const ticks = scale.ticks, gradient = make("span", { className: "ramp" });
    gradient.style.cssText = `width:140px;height:12px;border-radius:2px;background:linear-gradient(90deg,${ramp.filter((_, i) => i % 15 === 0 || i === ramp.length - 1).join(",")})`;
    box.append(make("span", {}, ticks[0][1], gradient, `${ticks[ticks.length - 1][1]} or more`));
    box.append(make("span", {}, scale.label));
    for (const code of [CHANCE, UNKNOWN, NOT_FINITE, CONSTANT]) {
      const sample = make("canvas", {});
      cell(sheet(sample, 18, 12), code, 0, 0, 18, 12);
      box.append(make("span", {}, sample, scale.states[code][0]));
    }
    for (const [draw, words] of /** @type {[(pen: any) => void, string][]} */ ([[(p) => dot(p, 6, 6), "dead units"], [(p) => bar(p, 4, 5), "near-constant units"], [(p) => triangle(p, 7, 2), "left its band"]])) {
      const sample = make("canvas", {});
      draw(sheet(sample, 14, 12));
      box.append(make("span", {}, sample, words));
    }
  }

  // A site

  async function openSite(/** @type {number} */ id, focus = false) {
    if (!("DecompressionStream" in window)) {
      $("where").textContent = "This browser cannot unpack sites: take one of 2023 or later.";
      return;
    }
    state.site = state.at.site = id;
    state.unit = -1;
    state.unitAt = { place: 0, column: 0 };
    const site = sites[id], run = state.run, data = await load(id);
    if (state.site !== id || state.run !== run) return;
    opened = data;
    $("site").hidden = false;
    $("unit").hidden = true;
    $("h-site").textContent = site.name;
    const left = site.onset === null ? (site.onsetUnknown ? `whether it left the band of its past is unknown: ${site.onsetUnknown}` : "it did not leave the band of its past") : `it left the band of its past at step ${site.onset}`;
    $("site-facts").textContent = [site.type, site.note || `${site.of} units`, `n = ${site.n.toLocaleString("en")} sampled activations a unit in its last window`, left].join(" · ");
    mark();
    drawSite();
    remember();
    if (focus) $("h-site").focus();
    const next = shown[shown.indexOf(id) + 1];
    if (next !== undefined) (window.requestIdleCallback ?? setTimeout)(() => state.run === run && load(next));
  }

  function closeSite() {
    state.site = state.unit = -1;
    opened = null;
    $("site").hidden = true;
    mark();
    remember();
    $("atlas").focus();
  }

  function drawSite() {
    if (!opened) return;
    const site = sites[state.site], data = opened;
    const some = data.series.steps.length;
    $("h-series").textContent = some ? "Percentiles over steps" : "Percentiles over steps: no series of steps was recorded";
    $("series").hidden = !some;
    if (some) {
      const rows = stretched(data.series.codes, data.series.ends, 0, some);
      fan($("series"), { xs: Array.from(data.series.steps), rows, title: "5th, 15th, 50th, 85th and 95th percentile, medians over units", axis: "step", shade: true, mark: site.onset, ends: data.series.ends });
      $("series").setAttribute("aria-label", `Percentiles of ${site.name} over steps, from ${number(data.series.ends[0])} to ${number(data.series.ends[1])}`);
    }
    $("h-units").textContent = "Units by windows, the one that went farthest first";
    $("units-note").textContent = [`${data.ids.length.toLocaleString("en")} of ${site.of.toLocaleString("en")} units are here.`, ...meta.folded].join(" ");
    drawUnits();
    if (state.unit >= 0) drawUnit();
  }

  /** Percentiles as they were before they were quantised: rows of five, null where one is not known. */
  function stretched(/** @type {Uint16Array} */ codes, /** @type {Float32Array} */ ends, /** @type {number} */ k, /** @type {number} */ count) {
    const low = ends[2 * k], span = ends[2 * k + 1] - low;
    return Array.from({ length: count }, (_, row) => {
      const five = Array.from(codes.subarray(5 * (k * count + row), 5 * (k * count + row) + 5));
      return five.includes(0xffff) ? null : five.map((code) => low + (code / 0xfffe) * span);
    });
  }

  function drawUnits() {
    const canvas = $("units"), data = opened, count = data.ids.length, width = canvas.parentElement.clientWidth;
    const label = 64, inner = width - label - PAD, group = sharing(inner, data.columns), columns = Math.ceil(data.columns / group), wide = inner / Math.max(columns, 1);
    const a_row = Math.max(1, Math.ceil(count / 180)), rows = Math.ceil(count / a_row), high = Math.max(3, Math.min(16, Math.floor(540 / Math.max(rows, 1))));
    const pen = sheet(canvas, width, LABELS + Math.max(rows, 1) * high + PAD);
    grid = { label, group, columns, wide, high, a_row, rows, top: LABELS };
    const paired = meta.paired ? 2 : 1;
    windowAxis(pen, label, 0, columns, group * paired, wide);
    pen.fillStyle = ink.quiet;
    pen.textAlign = "left";
    pen.fillText(a_row > 1 ? `${a_row} a row` : "unit", 2, 9);
    const codes = new Uint8Array(rows * columns);
    for (let w = 0; w < data.columns; w++)
      for (let u = 0; u < count; u++) {
        const at = Math.floor(u / a_row) * columns + Math.floor(w / group);
        codes[at] = Math.max(codes[at], data.codes[w * count + u]);
      }
    if (high < 6) small(pen, codes, columns, rows, label, LABELS, wide, high);
    let free = -1e3;
    for (let row = 0; row < rows; row++) {
      const y = LABELS + row * high;
      if (high >= 6) for (let c = 0; c < columns; c++) cell(pen, codes[row * columns + c], label + c * wide, y, wide - (wide > 8 ? 1 : 0), high - 1);
      if (y - free < 13) continue;
      free = y;
      pen.fillStyle = ink.ink;
      pen.textAlign = "right";
      pen.fillText(String(data.ids[row * a_row]), label - 8, y + Math.max(high, 3) / 2 + 0.5);
    }
    grid.still = copied(canvas);
    markUnit();
    canvas.setAttribute("aria-label", `Units of ${sites[state.site].name}: ${count} units by ${data.columns} windows. Arrow keys move, Enter opens a unit.`);
  }

  function markUnit() {
    restored($("units"), grid.still);
    const x = grid.label + Math.floor(state.unitAt.column / grid.group) * grid.wide, y = grid.top + Math.floor(state.unitAt.place / grid.a_row) * grid.high;
    if (grid.rows && grid.columns) frame($("units").getContext("2d"), x, y, grid.wide, grid.high);
  }

  function unitInWords(/** @type {number} */ place, /** @type {number} */ column) {
    const data = opened, count = data.ids.length;
    if (!count || !data.columns) return "no unit was compared.";
    const code = data.codes[column * count + place], at = windows[Math.min(column * (meta.paired ? 2 : 1), windows.length - 1)];
    const places = scale.low + ((code - whole.lowest) / (whole.levels - 1)) * (scale.high - scale.low);
    const about = code < whole.lowest ? scale.states[code][1] : scale.ofFloor ? `about ${times(2 ** places)} times its floor` : `drift about ${Number((10 ** places).toPrecision(2))}${unit}`;
    const most = data.at[place] < 0 ? "" : `; at most ${scale.ofFloor ? `${times(data.worst[place])} times its floor` : number(data.worst[place]) + unit}, in window ${windows[data.at[place]][1]}`;
    return `unit ${data.ids[place]}, window ${at[1]}: ${about}${most}.`;
  }

  function openUnit(/** @type {number} */ place, focus = false) {
    if (place < 0 || place >= opened.ids.length) return;
    state.unit = opened.ids[place];
    state.unitAt.place = place;
    $("unit").hidden = false;
    markUnit();
    drawUnit();
    $("where-unit").textContent = unitInWords(place, state.unitAt.column);
    remember();
    if (focus) $("h-unit").focus();
  }

  function drawUnit() {
    const data = opened, place = Array.from(data.ids).indexOf(state.unit), k = data.fans.places.indexOf(place), d = data.dense.places.indexOf(place);
    $("h-unit").textContent = `Unit ${state.unit} of ${sites[state.site].name}`;
    $("unit-facts").textContent = k < 0 ? `Of this unit no percentiles and densities are on this page: they are of ${data.fans.places.length} units of this site. icshift units --site NAME --unit ${state.unit} draws any.` : d < 0 ? "Of this unit no densities are on this page." : "";
    for (const [name, there] of /** @type {[string, boolean][]} */ ([["fan", k >= 0], ["density", d >= 0]])) $(name).parentElement.hidden = !there;
    if (k >= 0) {
      $("fan-caption").textContent = "5th, 15th, 50th, 85th and 95th percentile by windows";
      const rows = stretched(data.fans.codes, data.fans.ends, k, windows.length);
      fan($("fan"), { xs: windows.map((_, /** @type {number} */ w) => w), rows, title: "", axis: "window", shade: false, mark: null, ends: data.fans.ends.subarray(2 * k, 2 * k + 2) });
      $("fan").setAttribute("aria-label", `Percentiles of unit ${state.unit} by windows, from ${number(data.fans.ends[2 * k])} to ${number(data.fans.ends[2 * k + 1])}`);
    }
    if (d >= 0) {
      $("density-caption").textContent = "Densities by windows, all to one scale; the first window at the top";
      ridges($("density"), data.dense, d);
      $("density").setAttribute("aria-label", `Densities of unit ${state.unit} by windows, from ${number(data.dense.ends[2 * d])} to ${number(data.dense.ends[2 * d + 1])}`);
    }
  }

  // Pictures

  function ticks(/** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ wanted) {
    const rough = (high - low || 1) / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough) ?? rough, found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push(Math.abs(v) < step * 1e-6 ? 0 : Number(v.toPrecision(6)));
    return found;
  }

  function fan(/** @type {HTMLCanvasElement} */ canvas, /** @type {any} */ given) {
    const width = /** @type {HTMLElement} */ (canvas.parentElement).clientWidth, height = 240, left = 62, right = width - PAD, bottom = height - 40, top = 22;
    const pen = sheet(canvas, width, height), [low, high] = given.ends, span = high - low || Math.abs(high) * 0.1 || 1, base = high > low ? low : low - span / 2;
    const first = given.xs[0], last = given.xs[given.xs.length - 1];
    const x = (/** @type {number} */ v) => (last > first ? left + ((v - first) / (last - first)) * (right - left) : (left + right) / 2);
    const y = (/** @type {number} */ v) => bottom - ((v - base) / span) * (bottom - top);
    if (given.shade)
      windows.forEach((/** @type {any} */ w, /** @type {number} */ i) => {
        const from = Math.max(x(w[2]), left), to = Math.min(x(w[3] + 1), right);
        pen.fillStyle = ink.panel;
        if (i % 2 && to > from) pen.fillRect(from, top, to - from, bottom - top);
      });
    pen.textAlign = "right";
    for (const v of ticks(base, base + span, 5)) {
      pen.fillStyle = ink.line;
      pen.fillRect(left, y(v), right - left, 1);
      pen.fillStyle = ink.quiet;
      pen.fillText(String(v), left - 6, y(v));
    }
    pen.save();
    pen.translate(9, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("activation", 0, 0);
    pen.restore();
    for (const [from, to, part] of [[0, 4, 0.25], [1, 3, 0.4]]) area(pen, given, x, y, from, to, part);
    pen.strokeStyle = ink.ink;
    pen.lineWidth = 1.5;
    pen.beginPath();
    let down = false;
    given.rows.forEach((/** @type {any} */ row, /** @type {number} */ i) => {
      if (!row) down = false;
      else if (down) pen.lineTo(x(given.xs[i]), y(row[2]));
      else {
        pen.moveTo(x(given.xs[i]) - 0.5, y(row[2]));
        pen.lineTo(x(given.xs[i]) + 0.5, y(row[2]));
        down = true;
      }
    });
    pen.stroke();
    if (given.mark !== null && given.mark !== undefined && given.mark >= first) {
      pen.fillStyle = ink.mark;
      pen.fillRect(x(given.mark) - 0.75, top, 1.5, bottom - top);
      triangle(pen, x(given.mark), top - 6);
    }
    pen.fillStyle = ink.quiet;
    pen.textAlign = "center";
    let free = -1e3;
    const places = given.axis === "window" ? given.xs : ticks(first, last, Math.max(2, Math.min(8, width / 110)));
    for (const v of places) {
      const words = given.axis === "window" ? elided(pen, windows[v][1], 70) : String(v), half = pen.measureText(words).width / 2, at = Math.min(Math.max(x(v), left + half), right - half);
      if (at - half < free + 8) continue;
      pen.fillText(words, at, bottom + 12);
      free = at + half;
    }
    pen.fillText(given.axis, (left + right) / 2, height - 8);
    pen.textAlign = "left";
    pen.fillText(elided(pen, given.title, right - left), left, 9);
  }

  function area(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ given, /** @type {any} */ x, /** @type {any} */ y, /** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ part) {
    pen.save();
    pen.globalAlpha = part;
    pen.fillStyle = ink.accent;
    /** @type {number[]} */ let run = [];
    const fill = () => {
      if (!run.length) return;
      pen.beginPath();
      const half = run.length === 1 ? 3 : 0;
      run.forEach((i) => pen.lineTo(x(given.xs[i]) - half, y(given.rows[i][to])));
      if (half) pen.lineTo(x(given.xs[run[0]]) + half, y(given.rows[run[0]][to]));
      if (half) pen.lineTo(x(given.xs[run[0]]) + half, y(given.rows[run[0]][from]));
      run.reverse().forEach((i) => pen.lineTo(x(given.xs[i]) - half, y(given.rows[i][from])));
      pen.closePath();
      pen.fill();
      run = [];
    };
    given.rows.forEach((/** @type {any} */ row, /** @type {number} */ i) => (row ? run.push(i) : fill()));
    fill();
    pen.restore();
  }

  function ridges(/** @type {HTMLCanvasElement} */ canvas, /** @type {any} */ dense, /** @type {number} */ d) {
    const count = dense.windows.length, width = /** @type {HTMLElement} */ (canvas.parentElement).clientWidth, left = 76, right = width - PAD;
    const gap = Math.max(9, Math.min(30, 190 / Math.max(count, 1))), tall = Math.max(gap * 2, 26), top = tall + 4, bottom = top + gap * Math.max(count - 1, 0) + 4;
    const pen = sheet(canvas, width, bottom + 38), low = dense.ends[2 * d], high = dense.ends[2 * d + 1];
    const x = (/** @type {number} */ v) => left + ((v - low) / (high - low || 1)) * (right - left);
    let free = -1e3;
    for (let r = 0; r < count; r++) {
      const base = top + r * gap, start = 16 * (d * count + r);
      pen.beginPath();
      pen.moveTo(left, base);
      for (let bin = 0; bin < 32; bin++) {
        const byte = dense.heights[start + (bin >> 1)], level = bin & 1 ? byte >> 4 : byte & 15;
        pen.lineTo(left + (bin / 32) * (right - left), base - (level / 15) * tall);
        pen.lineTo(left + ((bin + 1) / 32) * (right - left), base - (level / 15) * tall);
      }
      pen.lineTo(right, base);
      pen.closePath();
      pen.fillStyle = ink.band;
      pen.fill();
      pen.strokeStyle = ink.accent;
      pen.lineWidth = 1.2;
      pen.stroke();
      if (base - free < 13) continue;
      free = base;
      pen.fillStyle = ink.quiet;
      pen.textAlign = "right";
      pen.fillText(elided(pen, windows[dense.windows[r]][1], left - 10), left - 6, base - 4);
    }
    pen.fillStyle = ink.quiet;
    pen.textAlign = "center";
    for (const v of ticks(low, high, Math.max(2, Math.min(6, width / 110)))) {
      pen.fillRect(x(v), bottom, 1, 4);
      pen.fillText(String(v), Math.min(Math.max(x(v), left), right - 12), bottom + 13);
    }
    pen.fillText("activation", (left + right) / 2, bottom + 30);
  }

  // Tables

  const siteNamed = (/** @type {string} */ name) => sites.find((/** @type {any} */ s) => s.name === name || `${s.name} †` === name);

  /** A table of the run that is shown, whose sites open, or one of pairs; `name` is of its file. */
  function table(/** @type {any} */ given, /** @type {string} */ name, ofRun = true) {
    const body = make("tbody"), head = make("tr"), wordy = given.columns.map((/** @type {any} */ _, /** @type {number} */ c) => given.rows.every((/** @type {any} */ row) => row[c][1] === null && row[c][0] !== "–"));
    let rows = given.rows.map((/** @type {any} */ _, /** @type {number} */ i) => i);
    const elements = given.rows.map((/** @type {any} */ row) => {
      const site = ofRun ? siteNamed(row[0][0]) : undefined;
      const cells = row.map(([words], /** @type {number} */ c) => make("td", { className: wordy[c] ? "word" : "" }, c || !site ? words : make("button", { type: "button", textContent: words, onclick: () => openSite(site.id, true) })));
      const element = make("tr", {}, ...cells);
      if (ofRun) element.dataset.site = site ? site.name : row[0][0];
      else element.dataset.pair = row[0][0];
      return element;
    });
    given.columns.forEach((/** @type {string} */ name, /** @type {number} */ c) => {
      const button = make("button", { type: "button", textContent: name });
      const cellOfHead = make("th", { scope: "col", className: wordy[c] ? "word" : "" }, button);
      button.onclick = () => {
        const falling = cellOfHead.getAttribute("aria-sort") === "descending" || (wordy[c] && cellOfHead.getAttribute("aria-sort") !== "ascending");
        for (const other of head.children) other.removeAttribute("aria-sort");
        cellOfHead.setAttribute("aria-sort", falling ? "ascending" : "descending");
        rows = rows.sort((/** @type {number} */ a, /** @type {number} */ b) => compare(given.rows[a][c], given.rows[b][c], falling ? 1 : -1) || a - b);
        body.append(...rows.map((/** @type {number} */ i) => elements[i]));
      };
      head.append(cellOfHead);
    });
    body.append(...elements);
    const id = `h-table-${name}`, csv = make("button", { type: "button", textContent: "CSV", onclick: () => save(`${ofRun ? meta.title : "compare"}-${name}.csv`, [given.columns, ...rows.map((/** @type {number} */ i) => given.rows[i].map(([words, value]) => value ?? (words === "–" ? "" : words)))]) });
    const scroll = make("div", { className: "scroll", tabIndex: 0 }, make("table", {}, make("thead", {}, head), body));
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-labelledby", id);
    return [make("div", { className: "bar" }, make("h2", { id, textContent: given.name }), csv), scroll];
  }

  function compare(/** @type {any} */ a, /** @type {any} */ b, /** @type {number} */ way) {
    if (a[1] === null && b[1] === null) return a[0] < b[0] ? -way : a[0] > b[0] ? way : 0;
    if (a[1] === null || b[1] === null) return a[1] === null ? 1 : -1;
    return way * (a[1] - b[1]);
  }

  const quoted = (/** @type {any} */ value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

  function save(/** @type {string} */ name, /** @type {any[][]} */ rows) {
    const url = URL.createObjectURL(new Blob([rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" }));
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  const plain = (/** @type {number} */ v) => (Number.isFinite(v) ? v : "");
  const counted = (/** @type {number} */ v) => (v < 0 ? "" : v);

  function atlasRows() {
    const rows = /** @type {any[][]} */ ([["site", "window", "name", "first_step", "last_step", "drift", "floor", "ratio", "moved", "location", "scale", "shape", "dead", "near_constant", "nonfinite"]]);
    for (const site of shown.map((id) => sites[id]))
      windows.forEach((/** @type {any} */ w, /** @type {number} */ i) => rows.push([site.name, w[0], w[1], w[2], w[3], plain(site.drift[i]), plain(site.floor[i]), plain(site.ratio[i]), plain(site.moved[i]), ...[0, 1, 2].map((part) => plain(site.parts[3 * i + part])), counted(site.dead[i]), counted(site.constant[i]), counted(site.nonfinite[i])]));
    return rows;
  }

  function unitRows() {
    const rows = [["unit", scale.ofFloor ? "largest_ratio" : "largest_drift", "in_window"]];
    opened.ids.forEach((/** @type {number} */ id, /** @type {number} */ i) => rows.push([String(id), String(plain(opened.worst[i])), opened.at[i] < 0 ? "" : windows[opened.at[i]][1]]));
    return rows;
  }

  // <anatomy.js>
  // <pairs.js>
  // Events

  function remember() {
    const parts = new URLSearchParams();
    if (state.run > 0) parts.set("run", String(state.run + 1));
    if ($("view").value !== "drift") parts.set("view", $("view").value);
    if (state.site >= 0) parts.set("site", sites[state.site].name);
    if (state.unit >= 0) parts.set("unit", String(state.unit));
    try {
      history.replaceState(null, "", `#${parts}`);
    } catch {
      // A page within a frame may not: it then forgets.
    }
  }

  function hit(/** @type {any} */ layout, /** @type {MouseEvent} */ event) {
    const column = Math.floor((event.offsetX - layout.label) / layout.wide), row = Math.floor((event.offsetY - layout.top) / layout.high);
    return { row, column: column < 0 || column >= layout.columns ? -1 : column * layout.group };
  }

  function tip(/** @type {MouseEvent} */ event, /** @type {string} */ words) {
    const box = $("tip");
    box.hidden = !words;
    if (!words) return;
    box.textContent = words;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    box.style.top = `${event.clientY + 18 + height > innerHeight ? Math.max(4, event.clientY - height - 10) : event.clientY + 18}px`;
  }

  function goAtlas() {
    mark();
    sayCell();
  }

  function sayCell() {
    const site = sites[state.at.site];
    $("where").textContent = site && windows.length ? saidOfCell(site, state.at.window) : "";
  }

  const saidOfCell = (/** @type {any} */ site, /** @type {number} */ w) => ($("view").value === "parts" ? partsInWords(site, w) : cellInWords(site, w));

  const clamp = (/** @type {number} */ v, /** @type {number} */ top) => Math.max(0, Math.min(v, top));
  /** By how many rows and columns a key moves; null for other keys. */
  function moved(/** @type {KeyboardEvent} */ event) {
    const far = 1e6, ways = /** @type {Record<string, number[]>} */ ({
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0],
      Home: event.ctrlKey ? [-far, 0] : [0, -far], End: event.ctrlKey ? [far, 0] : [0, far],
    });
    return ways[event.key] ?? null;
  }

  function keepInView(/** @type {HTMLElement} */ canvas, /** @type {number} */ y) {
    const at = canvas.getBoundingClientRect().top + y;
    if (at < 20 || at > innerHeight - 40) window.scrollBy({ top: at - innerHeight / 2 });
  }

  function listen() {
    const canvas = $("atlas"), units = $("units");
    canvas.addEventListener("mousemove", (/** @type {MouseEvent} */ event) => {
      const { row, column } = hit(atlas, event), site = sites[shown[row]];
      canvas.style.cursor = site ? "pointer" : "default";
      tip(event, !site ? "" : column < 0 ? `${site.name} · ${site.type}` : saidOfCell(site, column));
    });
    canvas.addEventListener("mouseleave", () => ($("tip").hidden = true));
    canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const { row, column } = hit(atlas, event);
      if (shown[row] === undefined) return;
      state.at = { site: shown[row], window: column < 0 ? state.at.window : column };
      sayCell();
      openSite(shown[row]);
    });
    canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const way = moved(event);
      if (way && shown.length && windows.length) {
        event.preventDefault();
        const row = clamp(shown.indexOf(state.at.site) + way[0], shown.length - 1), step = way[1] * atlas.group;
        state.at = { site: shown[row], window: clamp(state.at.window + step, windows.length - 1) };
        goAtlas();
        keepInView(canvas, atlas.top + row * atlas.high);
      } else if (event.key === "Enter" && shown.length) openSite(state.at.site, true);
    });
    units.addEventListener("mousemove", (/** @type {MouseEvent} */ event) => {
      const { row, column } = hit(grid, event);
      tip(event, row < 0 || row >= grid.rows || column < 0 ? "" : unitInWords(row * grid.a_row, column));
    });
    units.addEventListener("mouseleave", () => ($("tip").hidden = true));
    units.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const { row, column } = hit(grid, event);
      if (row < 0 || row >= grid.rows) return;
      state.unitAt = { place: row * grid.a_row, column: Math.max(column, 0) };
      openUnit(state.unitAt.place);
    });
    units.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const way = moved(event);
      if (way && opened?.ids.length) {
        event.preventDefault();
        state.unitAt = { place: clamp(state.unitAt.place + way[0], opened.ids.length - 1), column: clamp(state.unitAt.column + way[1] * grid.group, Math.max(opened.columns - 1, 0)) };
        markUnit();
        $("where-unit").textContent = unitInWords(state.unitAt.place, state.unitAt.column);
        keepInView(units, grid.top + Math.floor(state.unitAt.place / grid.a_row) * grid.high);
      } else if (event.key === "Enter" && opened) openUnit(state.unitAt.place, true);
    });
    document.addEventListener("keydown", (event) => {
      const typing = /** @type {HTMLElement} */ (event.target).matches?.("input, select, textarea");
      if (event.key === "/" && !typing) {
        event.preventDefault();
        $("search").focus();
      } else if (event.key === "Escape") escape(typing);
    });
    for (const name of ["search", "order", "only"]) $(name).addEventListener("input", choose);
    for (const name of ["palette", "theme", "view"]) $(name).addEventListener("input", repaint);
    $("view").addEventListener("input", () => {
      sayCell();
      remember();
    });
    $("run").addEventListener("input", () => showRun(Number($("run").value)));
    if (whole.pairs) listenToPairs();
    $("unit-number").addEventListener("input", (/** @type {any} */ event) => {
      if (opened && event.target.value.trim()) openUnit(Array.from(opened.ids).indexOf(Number(event.target.value)));
    });
    $("site-close").onclick = closeSite;
    $("site-before").onclick = () => beside(-1);
    $("site-after").onclick = () => beside(1);
    $("atlas-csv").onclick = () => save(`${meta.title}-atlas.csv`, atlasRows());
    $("units-csv").onclick = () => save(`${meta.title}-units.csv`, unitRows());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    let width = innerWidth;
    window.addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      repaint();
    });
  }

  function escape(/** @type {boolean} */ typing) {
    if (typing && $("search").value) {
      $("search").value = "";
      choose();
    } else if (state.unit >= 0) {
      state.unit = -1;
      $("unit").hidden = true;
      remember();
      $("units").focus();
    } else if (state.site >= 0) closeSite();
  }

  function beside(/** @type {number} */ by) {
    const next = shown[shown.indexOf(state.site) + by];
    if (next !== undefined) openSite(next);
  }

  function repaint() {
    document.documentElement.dataset.theme = $("theme").value;
    if (!$("theme").value) delete document.documentElement.dataset.theme;
    colours();
    legend();
    headAtlas();
    drawAtlas();
    if (state.site >= 0) drawSite();
    if (whole.pairs) drawPairs();
  }

  /** What the atlas is of: how far sites went, or what of. */
  function headAtlas() {
    const parts = $("view").value === "parts";
    $("h-atlas").textContent = parts ? "Anatomy" : "Atlas";
    $("parts-caption").hidden = !parts;
  }

  const paragraphs = (/** @type {string[]} */ all, /** @type {string} */ className) => all.map((words, i) => make("p", { textContent: words, className: className || (i > 2 ? "more" : "") }));
  const named = (/** @type {any[]} */ list) => list.flatMap(([name, words]) => [make("dt", { textContent: name }), make("dd", { textContent: words })]);

  /** What is on the page whichever run is shown. */
  function fillWhole() {
    const several = whole.runs.length > 1, title = several ? whole.title : whole.runs[0].title;
    document.title = `${title} · icshift`;
    $("title").textContent = title;
    $("palette").append(...Object.keys(whole.palettes).map((name) => make("option", { value: name, textContent: name })));
    $("glossary").append(...named(whole.glossary));
    $("run").append(...whole.runs.map((/** @type {any} */ run, /** @type {number} */ i) => make("option", { value: String(i), textContent: run.name })));
    $("runs-part").hidden = !several;
    if (whole.pairs) fillPairs();
    else $("said").append(...paragraphs(whole.notes, ""));
  }

  function fill() {
    const several = whole.runs.length > 1;
    for (const name of ["command", "versions"]) $(name).textContent = meta[name];
    $(several ? "run-subtitle" : "subtitle").textContent = meta.subtitle;
    $("h-run").textContent = meta.name;
    $("parts-caption").textContent = meta.parts;
    $("lead").replaceChildren(...paragraphs(meta.sentences, ""), ...paragraphs(meta.warnings, "warning"));
    $("facts").replaceChildren(...named([...meta.facts, ...(meta.folded.length ? [["Left out", meta.folded.join(" ")]] : [])]));
    for (const name of ["read", "notes"]) $(name).replaceChildren(...meta[name].map((/** @type {string} */ words) => make("li", { textContent: words })));
    $("tables").replaceChildren(...meta.tables.flatMap((/** @type {any} */ one, /** @type {number} */ which) => table(one, which ? "onset" : "sites")));
  }

  function showRun(/** @type {number} */ run) {
    use(run);
    $("run").value = String(run);
    $("site").hidden = true;
    fill();
    legend();
    headAtlas();
    choose();
    $("where").textContent = "Point at a cell, or go there with the arrow keys.";
    remember();
  }

  async function start() {
    const asked = new URLSearchParams(location.hash.slice(1)), run = Number(asked.get("run") ?? 1) - 1;
    fillWhole();
    if (asked.get("view") === "parts") $("view").value = "parts";
    colours();
    use(whole.runs[run] ? run : 0);
    listen();
    showRun(state.run);
    if (whole.pairs) choosePairs();
    const site = siteNamed(asked.get("site") ?? "");
    if (site) {
      await openSite(site.id);
      if (asked.has("unit")) openUnit(Array.from(opened.ids).indexOf(Number(asked.get("unit"))));
    }
    document.documentElement.dataset.ready = "yes";
  }
  start();
})();
