  // Anatomy: the atlas with what drifts are made of in its cells

  const partsOf = (/** @type {any} */ site, /** @type {number} */ w) => Array.from(site.parts.subarray(3 * w, 3 * w + 3));

  function partsInWords(/** @type {any} */ site, /** @type {number} */ w) {
    const shares = partsOf(site, w), head = `${site.name}, ${windowName(w)}`;
    if (!shares.every(Number.isFinite)) return `${head}; of what its drift is made is not known.`;
    const said = shares.map((part, i) => `${whole.parts.names[i]} ${share(part)}`).join(", ");
    return `${head}; ${said} of W2²${site.codes[w] === CHANCE ? "; its drift is not above what chance shows" : ""}.`;
  }

  /** The window of some that share a column whose drift is farthest: its shares are drawn. */
  function farthest(/** @type {any} */ site, /** @type {number} */ first, /** @type {number} */ last) {
    let at = first;
    for (let w = first; w < last; w++)
      if (Number.isFinite(site.parts[3 * w]) && (site.codes[w] > site.codes[at] || !Number.isFinite(site.parts[3 * at]))) at = w;
    return at;
  }

  function drawParts(/** @type {CanvasRenderingContext2D} */ pen, /** @type {any} */ site, /** @type {number} */ y, /** @type {number} */ row) {
    const { label, group, columns, wide, high } = atlas;
    labelRow(pen, site, y, row);
    for (let c = 0; c < columns; c++) {
      const w = farthest(site, c * group, Math.min((c + 1) * group, windows.length)), shares = partsOf(site, w);
      if (!shares.every(Number.isFinite)) continue;
      let foot = y + high - 2;
      pen.globalAlpha = site.codes[w] === CHANCE ? whole.parts.faint : 1;
      shares.forEach((part, i) => {
        const tall = part * (high - 4);
        pen.fillStyle = whole.parts.colours[i];
        pen.fillRect(label + c * wide, foot - tall, wide - (wide > 8 ? 1 : 0), tall);
        foot -= tall;
      });
      pen.globalAlpha = 1;
    }
  }

  function legendOfParts() {
    return [
      make("span", {}, whole.parts.legend),
      ...whole.parts.names.map((/** @type {string} */ name, /** @type {number} */ i) => {
        const sample = make("canvas", {}), pen = sheet(sample, 14, 12);
        pen.fillStyle = whole.parts.colours[i];
        pen.fillRect(0, 0, 14, 12);
        return make("span", {}, sample, name);
      }),
    ];
  }

