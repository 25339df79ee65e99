  // Pairs: two groups of runs side by side, a row a pair of sites, a panel a phase

  const pairs = whole.pairs, ROW = 30;
  /** @type {number[]} */ let pairsShown = [];
  /** @type {any} */ let sides = null;
  const pairAt = { row: 0, mark: 0 };
  const PAIR_ORDERS = /** @type {Record<string, (a: number, b: number) => number>} */ ({
    model: (a, b) => a - b,
    a: (a, b) => (pairs.rows[b].farther ?? -1) - (pairs.rows[a].farther ?? -1) || a - b,
    b: (a, b) => (pairs.rows[a].farther ?? Infinity) - (pairs.rows[b].farther ?? Infinity) || a - b,
    name: (a, b) => (pairs.rows[a].name < pairs.rows[b].name ? -1 : pairs.rows[a].name > pairs.rows[b].name ? 1 : 0),
  });
  const colourOf = (/** @type {any} */ mark) => pairs.colours[pairs.groups.indexOf(mark.group)];
  /** All marks of every pair, from panel to panel. */
  const marksOfPairs = pairs ? pairs.rows.map(() => /** @type {any[]} */ ([])) : [];
  pairs?.panels.forEach((/** @type {any} */ panel, /** @type {number} */ p) => panel.marks.forEach((/** @type {any} */ mark) => marksOfPairs[mark.row].push({ ...mark, panel: p })));
  const marksOf = (/** @type {number} */ row) => marksOfPairs[row] ?? [];

  function fillPairs() {
    $("pairs-part").hidden = false;
    $("said").append(...paragraphs(pairs.sentences, ""));
    for (const [name, words] of [["h-pairs", pairs.title], ["pairs-about", pairs.about], ["pairs-caption", pairs.caption]]) $(name).textContent = words;
    $("pairs-tables").append(...pairs.tables.flatMap((/** @type {any} */ one, /** @type {number} */ which) => table(one, which ? "ratios" : "paths", false)));
    $("pairs-tables").append(make("ul", { id: "pairs-notes", className: "quiet" }, ...whole.notes.map((/** @type {string} */ words) => make("li", { textContent: words }))));
    $("where-pair").textContent = "Point at a mark, or go there with the arrow keys.";
  }

  function choosePairs() {
    const wanted = $("pairs-search").value.trim().toLowerCase();
    pairsShown = pairs.rows.map((/** @type {any} */ _, /** @type {number} */ row) => row).filter((/** @type {number} */ row) => pairs.rows[row].name.toLowerCase().includes(wanted));
    pairsShown.sort(PAIR_ORDERS[$("pairs-order").value]);
    if (!pairsShown.includes(pairAt.row)) Object.assign(pairAt, { row: pairsShown[0] ?? -1, mark: 0 });
    const names = new Set(pairsShown.map((row) => pairs.rows[row].name));
    for (const row of document.querySelectorAll("tr[data-pair]"))
      /** @type {HTMLElement} */ (row).hidden = !names.has(/** @type {HTMLElement} */ (row).dataset.pair);
    $("pairs-count").textContent = `${pairsShown.length} of ${pairs.rows.length} pairs of sites.`;
    drawPairs();
  }

  /** Where the panels lie: as many beside each other as are wide enough, with the names at the left of each row of them. */
  function placedPanels(/** @type {number} */ width) {
    const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    pen.font = FONT;
    const label = Math.round(Math.min(220, width * 0.3, 14 + Math.max(60, ...pairs.rows.map((/** @type {any} */ row) => pen.measureText(row.name).width))));
    const beside = Math.max(1, Math.min(pairs.panels.length, Math.floor((width - label) / 230))), wide = (width - label) / beside - 22;
    const tall = 26 + Math.max(pairsShown.length, 1) * ROW + 46;
    const places = pairs.panels.map((/** @type {any} */ _, /** @type {number} */ p) => ({ left: label + (p % beside) * (wide + 22), top: Math.floor(p / beside) * tall + 26 }));
    return { label, wide, places, height: Math.ceil(pairs.panels.length / beside) * tall };
  }

  function drawPairs() {
    const canvas = $("pairs"), width = canvas.parentElement.clientWidth, placed = placedPanels(width), pen = sheet(canvas, width, placed.height);
    sides = placed;
    legendOfPairs();
    pairs.panels.forEach((/** @type {any} */ panel, /** @type {number} */ p) => drawPanel(pen, panel, placed.places[p]));
    sides.still = copied(canvas);
    markPair();
    canvas.setAttribute("aria-label", `${pairs.title}: ${pairsShown.length} pairs of sites, ${pairs.panels.map((/** @type {any} */ panel) => `${panel.title} (${panel.axis})`).join(", ")}. Arrow keys move, Enter opens the site of a run.`);
  }

  const across = (/** @type {any} */ panel, /** @type {any} */ place, /** @type {number} */ value) => place.left + (Math.log(Math.min(Math.max(value, panel.low), panel.high) / panel.low) / Math.log(panel.high / panel.low)) * sides.wide;
  const down = (/** @type {any} */ place, /** @type {any} */ mark) => place.top + (pairsShown.indexOf(mark.row) + (mark.group === undefined ? 0.5 : mark.group === pairs.groups[0] ? 0.33 : 0.67)) * ROW;

  function drawPanel(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ panel, /** @type {any} */ place) {
    const bottom = place.top + pairsShown.length * ROW;
    pen.fillStyle = ink.ink;
    pen.textAlign = "left";
    pen.fillText(panel.title, place.left, place.top - 14);
    pairsShown.forEach((row, i) => {
      pen.fillStyle = ink.panel;
      if (i % 2 === 0) pen.fillRect(place.left, place.top + i * ROW, sides.wide, ROW);
      pen.fillStyle = ink.ink;
      if (place.left === sides.label) pen.fillText(elided(pen, pairs.rows[row].name, sides.label - 12), 2, place.top + (i + 0.5) * ROW);
    });
    pen.textAlign = "center";
    let free = -1e3;
    for (const [value, words] of panel.ticks) {
      const x = across(panel, place, value), half = pen.measureText(words).width / 2, at = Math.min(Math.max(x, place.left + half), place.left + sides.wide - half);
      pen.fillStyle = ink.line;
      pen.fillRect(x - 0.5, place.top, 1, bottom - place.top + 4);
      pen.fillStyle = ink.quiet;
      if (at - half < free + 8) continue;
      pen.fillText(words, at, bottom + 13);
      free = at + half;
    }
    pen.fillText(panel.axis, place.left + sides.wide / 2, bottom + 31);
    if (panel.kind === "ratios") drawOne(pen, across(panel, place, 1), place.top, bottom);
    for (const mark of panel.marks) if (pairsShown.includes(mark.row)) (panel.kind === "ratios" ? drawRatio : drawPath)(pen, panel, place, mark);
  }

  function drawOne(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ top, /** @type {number} */ bottom) {
    pen.save();
    pen.strokeStyle = ink.quiet;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, bottom);
    pen.stroke();
    pen.restore();
  }

  function drawPath(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ panel, /** @type {any} */ place, /** @type {any} */ mark) {
    const y = down(place, mark);
    pen.fillStyle = colourOf(mark);
    if (mark.floor !== null) pen.fillRect(across(panel, place, mark.floor) - 1, y - 5, 2, 10);
    shape(pen, across(panel, place, mark.x), y, mark.group !== pairs.groups[0]);
  }

  /** A dot, or a diamond: groups differ in shape too. */
  function shape(/** @type {CanvasRenderingContext2D} */ pen, /** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ diamond) {
    pen.strokeStyle = ink.ground;
    pen.lineWidth = 1;
    pen.beginPath();
    if (!diamond) pen.arc(x, y, 4.5, 0, 7);
    else for (const [dx, dy] of [[0, -6], [5, 0], [0, 6], [-5, 0]]) pen.lineTo(x + dx, y + dy);
    pen.closePath();
    pen.fill();
    pen.stroke();
  }

  function drawRatio(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ panel, /** @type {any} */ place, /** @type {any} */ mark) {
    const x = across(panel, place, mark.x), y = down(place, mark);
    pen.fillStyle = pen.strokeStyle = ink.ink;
    pen.lineWidth = 1.5;
    const low = across(panel, place, mark.low), high = across(panel, place, mark.high);
    if (!mark.noisy) pen.fillRect(low, y - 1.25, high - low, 2.5);
    pen.beginPath();
    pen.arc(x, y, 4.5, 0, 7);
    if (mark.noisy) pen.fillStyle = ink.ground;
    pen.fill();
    pen.stroke();
  }

  function legendOfPairs() {
    const made = pairs.groups.map((/** @type {string} */ group, /** @type {number} */ i) => {
      const sample = make("canvas", {}), pen = sheet(sample, 14, 14);
      pen.fillStyle = pairs.colours[i];
      shape(pen, 7, 7, i > 0);
      return make("span", {}, sample, `runs of ${group}`);
    });
    $("pairs-legend").replaceChildren(...made);
  }

  /** The mark that the reader is at; undefined where a pair has none. */
  const markAt = () => marksOf(pairAt.row)[pairAt.mark];

  function markPair() {
    const canvas = $("pairs"), pen = canvas.getContext("2d"), mark = markAt();
    restored(canvas, sides.still);
    if (!mark || !pairsShown.includes(mark.row)) return;
    const place = sides.places[mark.panel];
    frame(pen, across(pairs.panels[mark.panel], place, mark.x) - 8, down(place, mark) - 8, 16, 16);
  }

  function sayPair() {
    markPair();
    const row = pairs.rows[pairAt.row], mark = markAt();
    $("where-pair").textContent = !row ? "" : mark ? `${pairs.panels[mark.panel].title}, ${mark.words}.` : `${row.name}: nothing is known.`;
  }

  /** Opens the site of a mark in the run that it is of, where that run is on the page. */
  function openMark(/** @type {any} */ mark) {
    if (!mark?.group) return;
    const run = whole.runs.findIndex((/** @type {any} */ one) => one.group === mark.group && one.number === mark.number);
    if (run < 0) {
      $("where-pair").textContent += ` Run ${mark.number} of ${mark.group} is not on this page: icshift report makes one of it.`;
      return;
    }
    if (run !== state.run) showRun(run);
    const site = siteNamed(pairs.rows[mark.row].sites[pairs.groups.indexOf(mark.group)]);
    if (site) openSite(site.id, true);
  }

  /** The mark that is nearest to the mouse, and by how many pixels. */
  function nearest(/** @type {MouseEvent} */ event) {
    let best = null, least = 14;
    for (const row of pairsShown)
      marksOf(row).forEach((/** @type {any} */ mark, /** @type {number} */ i) => {
        const place = sides.places[mark.panel];
        const away = Math.hypot(across(pairs.panels[mark.panel], place, mark.x) - event.offsetX, down(place, mark) - event.offsetY);
        if (away < least) [best, least] = [{ row, mark: i }, away];
      });
    return /** @type {any} */ (best);
  }

  function listenToPairs() {
    const canvas = $("pairs");
    canvas.addEventListener("mousemove", (/** @type {MouseEvent} */ event) => {
      const near = nearest(event), mark = near && marksOf(near.row)[near.mark];
      canvas.style.cursor = mark ? "pointer" : "default";
      tip(event, mark ? mark.words : "");
    });
    canvas.addEventListener("mouseleave", () => ($("tip").hidden = true));
    canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const near = nearest(event);
      if (!near) return;
      Object.assign(pairAt, near);
      sayPair();
      openMark(markAt());
    });
    canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const way = moved(event);
      if (way && pairsShown.length) {
        event.preventDefault();
        const row = pairsShown[clamp(pairsShown.indexOf(pairAt.row) + way[0], pairsShown.length - 1)];
        Object.assign(pairAt, { row, mark: clamp(pairAt.mark + way[1], Math.max(marksOf(row).length - 1, 0)) });
        sayPair();
        const mark = markAt();
        if (mark) keepInView(canvas, down(sides.places[mark.panel], mark));
      } else if (event.key === "Enter") openMark(markAt());
    });
    for (const name of ["pairs-search", "pairs-order"]) $(name).addEventListener("input", choosePairs);
  }

