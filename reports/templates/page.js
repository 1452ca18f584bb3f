"use strict";
// The page is complete without this script. It loads nothing, and builds elements from text alone.
(() => {
const $ = (query, of = document) => of.querySelector(query);
const $$ = (query, of = document) => [...of.querySelectorAll(query)];
const root = document.documentElement, said = $("#said"), MOST = 200;
const make = (tag, given = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), given);
  made.append(...children);
  return made;
};
const button = (label, onclick) => make("button", { type: "button", textContent: label, onclick });
const say = text => {
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, 4000);
};
root.classList.add("js");

// --- theme
const THEMES = ["system", "light", "dark"], theme = $("#theme");
const paint = name => {
  root.style.colorScheme = name === "system" ? "" : name;
  theme.textContent = `Theme: ${name}`;
};
let chosen = "system";
try { chosen = localStorage.getItem("theme") || chosen; } catch { /* storage may be switched off */ }
paint(THEMES.includes(chosen) ? chosen : "system");
theme.onclick = () => {
  chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
  paint(chosen);
  try { localStorage.setItem("theme", chosen); } catch { /* the choice then holds for this page */ }
};

// --- copying and saving
const copy = async (text, what) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`Copied: ${what}`);
};
const save = (name, type, text) => {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`Saved: ${name}`);
};
const csv = rows => rows.map(row => row.map(cell => {
  let text = String(cell ?? "").replaceAll("\u2212", "-").replaceAll("\u00a0", " ");
  if (/^[=+@\t\r-]/.test(text) && Number.isNaN(parseFloat(text))) text = `'${text}`; // no formula
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}).join(",")).join("\r\n") + "\r\n";
for (const each of $$("[data-copy]")) {
  each.onclick = () => {
    copy($(`#${each.dataset.copy}`).textContent, each.textContent.replace("Copy the ", ""));
  };
}

// --- tooltips of terms and of points: on hover and on focus; Escape closes them
const tip = make("div", { id: "tip", hidden: true });
tip.setAttribute("role", "tooltip");
document.body.append(tip);
const hide = () => { tip.hidden = true; };
const show = of => {
  tip.textContent = of.dataset.tip || $(".tip", of).textContent.trim().slice(1, -1);
  tip.hidden = false;
  const at = of.getBoundingClientRect(), below = at.bottom + 6;
  tip.style.left = `${Math.max(8, Math.min(at.left, root.clientWidth - tip.offsetWidth - 8))}px`;
  const fits = below + tip.offsetHeight < innerHeight;
  tip.style.top = `${fits ? below : Math.max(0, at.top - tip.offsetHeight - 6)}px`;
};
const tipped = event => event.target.closest?.("dfn, [data-tip]");
for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, event => { if (tipped(event)) show(tipped(event)); });
}
for (const kind of ["pointerout", "focusout"]) {
  document.addEventListener(kind, event => {
    if ((tipped(event) || event.target === tip) && !tip.contains(event.relatedTarget)) hide();
  });
}
document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
document.addEventListener("scroll", hide, { passive: true });
// The point "…-tip-3" of a figure is row 3 of the table below it; the arrow keys go from one to the
// next.
for (const box of $$("figure [role=img]")) {
  const figure = box.closest("figure"), points = $$('[id*="-tip-"]', box);
  const rows = $$("tbody tr", figure);
  const names = $$("thead th", figure).map(cell => cell.textContent);
  const known = points.filter(point => rows[point.id.split("-tip-")[1]]);
  if (!known.length) continue;
  box.setAttribute("role", "group");
  $("svg", box).removeAttribute("aria-hidden");
  known.forEach((point, i) => {
    const cells = [...rows[point.id.split("-tip-")[1]].cells].map(cell => cell.textContent);
    point.dataset.tip = cells.map((cell, n) => (n ? `${names[n]}: ${cell}` : cell)).join(", ");
    point.setAttribute("role", "img");
    point.setAttribute("aria-label", point.dataset.tip);
    point.setAttribute("tabindex", i ? -1 : 0);
    point.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      known[(i + step + known.length) % known.length].focus();
    });
  });
}

// --- tables: sorted by a column, saved as CSV
const SCALES = { n: 1e-9, µ: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };
Object.assign(SCALES, { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 });
const number = text => {
  const plain = text.replaceAll("\u2212", "-").replace(/,(?=\d{3})/g, "");
  const unit = plain.match(/\d[\s\u00a0](Ki|Mi|Gi|[nµmkMGTP])(?:s|B|FLOP|Hz|J)\b/);
  return parseFloat(plain.replace(/^[^\d+-]+/, "")) * (unit ? SCALES[unit[1]] : 1);
};
const by = (column, numeric, sign) => (a, b) => {
  const [x, y] = [a, b].map(row => row.cells[column]?.textContent.trim() ?? "");
  if (!numeric) return sign * x.localeCompare(y, "en", { numeric: true });
  const [p, q] = [number(x), number(y)];
  return Number.isNaN(p) || Number.isNaN(q) ? Number.isNaN(p) - Number.isNaN(q) : sign * (p - q);
};
const texts = (cells, skip) => [...cells].map(cell => {
  const plain = cell.cloneNode(true);
  $$(skip, plain).forEach(part => part.remove());
  return plain.textContent.trim();
});
for (const table of $$(".scroll > table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const name = $("caption", table).textContent.trim();
  heads.forEach((head, column) => {
    if (body.rows.length < 2) return;
    const sort = button("", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      body.append(...[...body.rows].sort(by(column, head.classList.contains("n"), sign)));
    });
    sort.className = "sort";
    sort.append(...head.childNodes);
    head.append(sort);
  });
  const saving = button("CSV", () => {
    save("table.csv", "text/csv", csv([...table.rows].map(row => texts(row.cells, ".tip"))));
  });
  saving.className = "csv";
  saving.setAttribute("aria-label", `Save as CSV: ${name}`);
  table.parentElement.after(saving);
}

// --- runs side by side: a column with the times over those of the base run
$("#base")?.addEventListener("change", event => {
  const column = table => [...table.tHead.rows[0].cells]
    .findIndex((head, i) => i && /step|time/i.test(head.textContent));
  $$(".against").forEach(cell => cell.remove());
  const from = $(`#${event.target.value || "none"} .first table`);
  for (const table of from ? $$(".first table") : []) {
    const [old, now] = [column(from), column(table)];
    if (table === from || old < 0 || now < 0) continue;
    const of = new Map([...from.tBodies[0].rows].map(r => [r.cells[0].textContent, r.cells[old]]));
    const head = make("th", { scope: "col", className: "n against", textContent: "over base" });
    table.tHead.rows[0].append(head);
    for (const row of table.tBodies[0].rows) {
      const base = of.get(row.cells[0].textContent);
      const ratio = base ? number(row.cells[now].textContent) / number(base.textContent) : NaN;
      const shown = Number.isFinite(ratio) ? `${ratio.toFixed(3)} ×` : "–";
      row.append(make("td", { className: "n against", textContent: shown }));
    }
  }
});

// --- explorer: all records, those that are packed as well
const data = JSON.parse($("#data").textContent);
const unpacked = new Map();
const group = (run, i) => {
  const key = `${run} ${i}`;
  if (!unpacked.has(key)) {
    const bytes = Uint8Array.from(atob(data[run].groups[i]), char => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    unpacked.set(key, new Response(stream).json());
  }
  return unpacked.get(key);
};
const packed = async (run, i) => {
  const size = data[run].size;
  return (await group(run, Math.floor(i / size)))[i % size];
};
const KEYS = ["case", "kind", "name", "index", "value"];
const long = record => {
  const rows = [], add = (...row) => rows.push([record.case ?? record.environment, ...row]);
  for (const kind of ["metrics", "params"]) {
    for (const [name, value] of Object.entries(record[kind])) {
      add(kind, name, "", typeof value === "object" ? JSON.stringify(value) : value);
    }
  }
  for (const [name, list] of Object.entries(record.samples)) {
    list.forEach((value, i) => add("samples", name, i, value));
  }
  for (const [name, list] of Object.entries(record.series)) {
    list.forEach((row, i) => {
      for (const [column, value] of Object.entries(row)) add("series", `${name}.${column}`, i, value);
    });
  }
  return rows;
};
for (const part of $$(".explorer")) {
  const entries = $(".entries", part), run = entries.dataset.run, { index } = data[run];
  const shown = [...entries.children], extra = make("div"), more = button("Show more", () => {
    most += MOST;
    list();
  });
  const [text, state, status] = ["input", "select", "[role=status]"].map(q => $(q, part));
  const every = $(".every", part);
  let most = MOST;
  entries.after(extra, more);
  const entry = i => {
    const [name, n, kind] = index[i], id = `${run}-case${n}`;
    const made = make("details", { className: "case", id }, make("summary", {},
      `${n}. `, make("code", { textContent: name }), " ",
      make("span", { className: `state ${kind}`, textContent: kind })));
    made.dataset.packed = i;
    return made;
  };
  const list = () => {
    const wanted = text.value.trim().toLowerCase();
    const fits = (name, kind) =>
      (!state.value || kind === state.value) && name.toLowerCase().includes(wanted);
    let n = 0;
    for (const each of shown) {
      each.hidden = !fits($("code", each).textContent, each.dataset.state);
      n += !each.hidden;
    }
    const found = index.map((_, i) => i).filter(i => fits(index[i][0], index[i][2]));
    extra.replaceChildren(...found.slice(0, most).map(entry));
    more.hidden = found.length <= most;
    status.textContent = `${n + found.length} of ${shown.length + index.length} records.`;
  };
  text.oninput = state.onchange = () => {
    every.open = true;
    most = MOST;
    list();
  };
  list();
  every.firstElementChild.textContent = `Show all ${shown.length + index.length} records`;
  every.addEventListener("toggle", async event => { // "toggle" does not bubble, but it is captured
    const each = event.target;
    if (!each.open || each === every || each.dataset.tools) return;
    each.dataset.tools = "yes";
    if (each.dataset.packed) {
      const record = await packed(run, +each.dataset.packed), facts = make("dl");
      for (const [name, value] of Object.entries({ ...record.metrics, ...record.params })) {
        facts.append(make("dt", { textContent: name }),
          make("dd", { textContent: typeof value === "object" ? JSON.stringify(value) : value }));
      }
      const json = make("pre", { className: "record", textContent: JSON.stringify(record) });
      each.append(facts, json);
    }
    const raw = $(".record", each), of = () => JSON.parse(raw.textContent);
    raw.before(make("p", { className: "tools" },
      button("Copy JSON", () => copy(raw.textContent, "the record as JSON")), " ",
      button("Copy CSV", () => copy(csv([KEYS, ...long(of())]), "the record as CSV")), " ",
      button("Copy citation", () => {
        copy(`${entries.dataset.cite} Case ${of().case ?? of().environment}.`, "the citation");
      })));
  }, true);
  const all = async () => [
    ...$$(":scope > details > .record", entries).map(raw => JSON.parse(raw.textContent)),
    ...await Promise.all(index.map((_, i) => packed(run, i))),
  ];
  $("[data-all=csv]", part).onclick = async () => {
    save("records.csv", "text/csv", csv([KEYS, ...(await all()).flatMap(long)]));
  };
  $("[data-all=json]", part).onclick = async () => {
    const lines = (await all()).map(record => `${JSON.stringify(record)}\n`);
    save("records.jsonl", "application/jsonl", lines.join(""));
  };
  part.find = id => { // the entry of a packed record that a link names
    const i = index.findIndex(each => `${run}-case${each[1]}` === id);
    if (i >= 0) extra.prepend(entry(i));
  };
}

// --- links open what they lead to; on paper everything is open
const open = () => {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!id) return;
  if (!document.getElementById(id)) $$(".explorer").forEach(part => part.find(id));
  const target = document.getElementById(id);
  for (let at = target; at; at = at.parentElement) if (at.localName === "details") at.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", open);
open();
let closed = [];
addEventListener("beforeprint", () => {
  closed = $$("details:not([open])");
  closed.forEach(each => { each.open = true; });
});
addEventListener("afterprint", () => closed.forEach(each => { each.open = false; }));
})();
