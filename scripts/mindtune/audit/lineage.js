// The lineage page. Places of rules come from the page; nothing is laid out here but the room that
// an opened rule takes. All text goes in as text, never as HTML.
"use strict";
(async () => {
const $ = id => document.getElementById(id);
const packed = atob($("data").textContent), bytes = new Uint8Array(packed.length);
for (let n = 0; n < packed.length; n++) bytes[n] = packed.charCodeAt(n);
const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
const D = JSON.parse(await new Response(inflated).text());
const {jobs, rules, numbers} = D;
const hashes = D.hashes.split(","), files = D.files.map((path, n) => [path, hashes[n]]);
const BOX = 34, ROW = 20, GAP = 34, EDGE = 16, MOST_ROWS = 20, MOST_OPEN = 60, MOST = 12;

// ---------------------------------------------------------------- what follows from what
const ruleNumber = new Map(rules.map((rule, n) => [rule.name, n]));
const maker = new Map(), readers = files.map(() => []), after = jobs.map(() => []);
rules.forEach(rule => rule.jobs = []);
jobs.forEach((job, j) => {
  job.r = ruleNumber.get(job.rule);
  rules[job.r].jobs.push(j);
  job.out.forEach(f => maker.set(f, j));
  job.in.forEach(f => readers[f].push(j));
  job.needs.forEach(n => after[n].push(j));
});
// The arrows between jobs by the rules that they join, so that a picture of closed rules is quick
const joined = new Map();
jobs.forEach((job, j) => job.needs.forEach(n => {
  const key = `${jobs[n].r}>${job.r}`;
  if (!joined.has(key)) joined.set(key, []);
  joined.get(key).push([n, j]);
}));
const fileNumber = new Map(files.map((file, n) => [file[0], n]));
const jobName = j => jobs[j].about ? `${jobs[j].rule} ${jobs[j].about}` : jobs[j].rule;
const jobNumber = new Map(jobs.map((_, j) => [jobName(j), j]));

function reach(start, next) {
  const found = new Set(start), queue = [...start];
  while (queue.length)
    for (const n of next(queue.pop())) if (!found.has(n)) { found.add(n); queue.push(n); }
  return found;
}
// A file, the folders around it that a job knows, and what lies in it
function related(f) {
  const path = files[f][0];
  return files.map((_, n) => n).filter(n => {
    const other = files[n][0];
    return n === f || other.startsWith(path + "/") || path.startsWith(other + "/");
  });
}
function makerOf(f) {
  const around = related(f).filter(n => maker.has(n));
  return maker.get(f) ?? (around.length ? maker.get(around[0]) : undefined);
}
const readersOf = f => [...new Set(related(f).flatMap(n => readers[n]))];
const before = start => reach(start, j => jobs[j].needs);
const behind = start => reach(start, j => after[j]);

// ---------------------------------------------------------------- small things
function el(tag, about, ...kids) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(about || {}))
    if (name.startsWith("on") || name === "className" || name === "disabled") e[name] = value;
    else e.setAttribute(name, value);
  e.append(...kids.filter(kid => kid !== null && kid !== undefined));
  return e;
}
function pic(tag, about, ...kids) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(about || {})) e.setAttribute(name, value);
  e.append(...kids);
  return e;
}
// Commands are kept once a rule, with the names of a job's wildcards where their values stand
function command(job) {
  const values = (job.about || "").split("/");
  return job.names.reduce((text, name, n) => text.replaceAll(name, () => values[n]), D.commands[job.command]);
}
const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
function span(seconds) {
  if (seconds === undefined) return "not known";
  if (seconds < 60) return `${Number(seconds.toPrecision(3))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const total = list => list.every(j => jobs[j].seconds === undefined) ? undefined
  : list.reduce((sum, j) => sum + (jobs[j].seconds || 0), 0);
const link = (text, route, label) => el("button",
  {className: "link", type: "button", onclick: () => go(route), ...(label ? {"aria-label": label} : {})}, text);
const cut = (text, room) => text.length <= room ? text : text.slice(0, Math.max(1, room - 1)) + "…";

// ---------------------------------------------------------------- state, kept in the address
const state = {kind: "", name: "", set: null, rule: -1, job: -1, file: -1, open: new Set(), view: "picture"};
const go = route => {
  if (decodeURIComponent(location.hash.slice(1)) === route) take(); else location.hash = encodeURIComponent(route);
};
function take() {
  const route = decodeURIComponent(location.hash.slice(1));
  const cutAt = route.indexOf("=");
  state.kind = cutAt < 0 ? "" : route.slice(0, cutAt);
  state.name = route.slice(cutAt + 1);
  Object.assign(state, {set: null, rule: -1, job: -1, file: -1});
  const shown = {rule: takeRule, job: takeJob, file: takeFile, from: takeFrom, wrong: takeWrong, number: takeNumber}[state.kind];
  const parts = shown && shown(state.name);
  fill(parts || [welcome()]);
  document.querySelector("main").className = parts ? "chosen" : "";
  if (state.set) show("picture"); else draw();
  if (parts && state.kind !== "rule") $("panel").querySelector("h2").focus({preventScroll: innerWidth >= 1100});
}
function fill(parts) {
  $("panel").replaceChildren(...parts.filter(part => part));
  $("panel").scrollTop = 0;
}
const heading = text => el("h2", {tabindex: "-1"}, text);
const back = () => el("p", {}, link("Show everything again", ""));
const welcome = () => el("div", {}, heading("How to read this"),
  el("p", {}, "A box is a rule, and the number in it says how many jobs it had. A click opens it; a click on a job or a file says all that is known of it."),
  el("p", {}, "“Where does this number come from?”: choose Numbers, then the number. “What if this file were wrong?”: open a rule, then use the button beside the file."),
  el("p", {}, "With the keyboard: Tab and the arrow keys go from box to box, Enter opens, Escape leads back to the picture. The list holds the same as the picture, as text."),
  el("p", {className: "soft"}, "Faint arrows are those that a longer path implies. Beside this page, graphs/ has the graphs of rules, jobs and files as SVG, Mermaid and DOT."));

// ---------------------------------------------------------------- the panel
function fileRow(f) {
  const [path, hash] = files[f];
  return el("li", {className: "file"}, link(path, "file=" + path), " ",
    el("button", {className: "ask", type: "button", onclick: () => go("wrong=" + path), "aria-label": `What if ${path} were wrong?`}, "what if wrong?"),
    hash ? el("code", {className: "hash"}, hash) : null);
}
function fileList(title, list) {
  if (!list.length) return null;
  const most = 60, more = list.length - most;
  return el("section", {}, el("h3", {}, `${title} (${list.length})`),
    el("ul", {}, ...list.slice(0, most).map(fileRow), more > 0 ? el("li", {}, `${more} more: search for a name`) : null));
}
function jobList(list, most = MOST) {
  const more = list.length - most;
  return el("ul", {}, ...list.slice(0, most).map(j => el("li", {}, link(jobName(j), "job=" + jobName(j)),
    el("span", {className: "soft"}, ` ${jobs[j].seconds === undefined ? "" : span(jobs[j].seconds)}`))),
    more > 0 ? el("li", {}, `${more} more in the list`) : null);
}
const pairs = list => el("table", {}, el("tbody", {}, ...list.map(([name, value]) =>
  el("tr", {}, el("th", {scope: "row"}, name), el("td", {}, value)))));
const folded = (title, ...kids) => el("details", {}, el("summary", {}, title), ...kids);
// Folded, and made only when it is opened
function later(title, make) {
  const part = folded(title);
  part.addEventListener("toggle", () => { if (part.open && part.children.length === 1) part.append(...make()); });
  return part;
}

function takeRule(name) {
  const r = ruleNumber.get(name);
  if (r === undefined) return null;
  state.rule = r;
  const rule = rules[r], out = rule.jobs.flatMap(j => jobs[j].out);
  return [heading(rule.name), el("p", {}, rule.doc),
    el("p", {className: "soft"}, `Stage ${rule.stage}; ${many(rule.jobs.length, "job")}; ${span(total(rule.jobs))} in all.`),
    el("h3", {}, "Jobs"), jobList(rule.jobs), fileList("Files it makes", out)];
}
function takeJob(name) {
  const j = jobNumber.get(name);
  if (j === undefined) return null;
  state.job = j;
  const job = jobs[j], rule = rules[job.r];
  const settings = D.settings[job.settings] || [], packages = D.environments[job.environment] || [];
  return [heading(name), el("p", {}, rule.doc),
    el("p", {}, link("Where does this come from?", "from=" + name)),
    pairs([["rule", link(job.rule, "rule=" + job.rule)], ["stage", rule.stage], ["duration", span(job.seconds)],
      ...(job.record ? [["record", job.record]] : []), ...(job.log ? [["log", job.log]] : [])]),
    fileList("Outputs", job.out), fileList("Inputs", job.in),
    settings.length ? folded(`Params (${settings.length})`, pairs(settings)) : null,
    folded("Command", el("pre", {tabindex: "0"}, command(job) || "none: it only gathers files")),
    packages.length ? folded(`Environment (${many(packages.length, "package")})`, pairs(packages)) : null,
    job.tail ? folded("End of the log", el("pre", {tabindex: "0"}, job.tail)) : null];
}
function takeFile(path) {
  const f = fileNumber.get(path);
  if (f === undefined) return null;
  state.file = f;
  const j = makerOf(f), used = readersOf(f);
  return [heading(path),
    el("p", {className: "asks"}, link("Where does this file come from?", "from=" + path), link("What if this file were wrong?", "wrong=" + path)),
    pairs([["SHA-256", files[f][1] ? el("code", {className: "hash"}, files[f][1]) : "in no record"],
      ["made by", j === undefined ? "no job: it comes from outside" : link(jobName(j), "job=" + jobName(j))]]),
    el("h3", {}, `Read by ${many(used.length, "job")}`), jobList(used, 30)];
}
// The jobs of a set, rule by rule in the order of the picture
function chain(set) {
  const order = rules.map((_, r) => r).sort((a, b) => rules[a].layer - rules[b].layer || a - b);
  return el("ol", {className: "chain"}, ...order.map(r => {
    const own = rules[r].jobs.filter(j => set.has(j));
    if (!own.length) return null;
    const made = own.length === 1 ? jobs[own[0]].out.filter(f => files[f][1]).slice(0, 4) : [];
    return el("li", {}, own.length === 1 ? link(jobName(own[0]), "job=" + jobName(own[0]))
      : later(`${rules[r].name}: ${own.length} jobs`, () => [jobList(own, 30)]),
      ...made.map(f => el("div", {className: "made"}, link(files[f][0], "file=" + files[f][0]), el("code", {className: "hash"}, files[f][1]))));
  }));
}
function origin(set) {
  const outside = [...new Set([...set].flatMap(j => jobs[j].in))].filter(f => makerOf(f) === undefined).sort((a, b) => a - b);
  return [el("p", {}, `${many(set.size, "job")} of ${jobs.length} stand behind it, from ${many(outside.length, "file")} that no job made. The picture shows these jobs alone.`),
    back(), chain(set), fileList("Files from outside", outside)];
}
function takeFrom(name) {
  const f = fileNumber.get(name), j = f === undefined ? jobNumber.get(name) : makerOf(f);
  if (f === undefined && j === undefined) return null;
  state.file = f ?? -1; state.job = j ?? -1;
  state.set = before(j === undefined ? [] : [j]);
  if (j === undefined) return [heading(`Where does ${name} come from?`), el("p", {}, "From outside: no job makes it."), back(), fileList("File", [f])];
  return [heading(`Where does ${name} come from?`), ...origin(state.set)];
}
function takeWrong(path) {
  const f = fileNumber.get(path);
  if (f === undefined) return null;
  state.file = f; state.set = behind(readersOf(f));
  const spoiled = [...state.set].flatMap(j => jobs[j].out);
  const wrong = numbers.filter(part => state.set.has(part.job));
  return [heading(`What if ${path} were wrong?`),
    el("p", {}, state.set.size
      ? `${many(state.set.size, "job")} of ${jobs.length} read it, themselves or through others: ${many(spoiled.length, "file")} would be wrong, and the numbers of ${wrong.length} of ${many(numbers.length, "evaluation")}. The picture shows these jobs alone.`
      : "No job reads it: nothing else would be wrong."),
    back(),
    wrong.length ? folded(`Numbers (${wrong.length})`, el("ul", {}, ...wrong.map(part => el("li", {}, `${part.run}, ${part.suite}`)))) : null,
    chain(state.set)];
}
function takeNumber(name) {
  const [n, row] = name.split(".").map(Number), part = numbers[n], cell = part && part.rows[row];
  if (!cell) return null;
  if (part.job === null) return [heading("Where does this number come from?"), el("p", {}, "No job of this plan scored that run: it was removed since.")];
  state.job = part.job; state.set = before([part.job]);
  return [heading("Where does this number come from?"),
    pairs([["number", cell[2]], ["metric", cell[1]], ["of", cell[0]], ["run, suite", `${part.run}, ${part.suite}`], ["items", cell[3]],
      ["scored by", link(jobName(part.job), "job=" + jobName(part.job))]]), ...origin(state.set)];
}

// ---------------------------------------------------------------- the picture
function boxes() {
  const shown = rules.map(rule => state.set ? rule.jobs.filter(j => state.set.has(j)) : rule.jobs);
  const tall = shown.map((own, r) => !own.length ? 0 : BOX + (state.open.has(r) ? (Math.min(own.length, MOST_ROWS) + (own.length > MOST_ROWS)) * ROW + 6 : 0));
  const high = D.layers.map(() => 0);
  rules.forEach((rule, r) => high[rule.layer] = Math.max(high[rule.layer], tall[r]));
  let y = EDGE;
  const top = high.map(height => { const at = y; y += height ? height + GAP : 0; return at; });
  return {shown, tall, high, top, height: y - GAP + EDGE};
}
function anchors({shown, tall, top}) {
  const at = new Map();
  shown.forEach((own, r) => own.forEach((j, n) => {
    const rule = rules[r], y = top[rule.layer];
    if (!state.open.has(r)) at.set(j, {key: `${r}`, r, in: [rule.x + rule.w / 2, y], out: [rule.x + rule.w / 2, y + tall[r]]});
    else {
      const row = Math.min(n, MOST_ROWS), middle = y + BOX + row * ROW + ROW / 2;
      at.set(j, {key: `${r}.${row}`, r, in: [rule.x + 3, middle], out: [rule.x + rule.w - 3, middle], side: true});
    }
  }));
  return at;
}
function curve(a, b, lanes, {high, top}) {
  let [x, y] = a.out, text = `M${x} ${y}`;
  const to = (nx, ny) => { const half = Math.max(10, Math.abs(ny - y) / 2); text += `C${x} ${y + half} ${nx} ${ny - half} ${nx} ${ny}`; [x, y] = [nx, ny]; };
  if (a.side || b.side) {
    const [bx, by] = b.in, c1 = a.side ? [x + 30, y] : [x, y + 24], c2 = b.side ? [bx - 30, by] : [bx, by - 24];
    return `${text}C${c1} ${c2} ${bx} ${by}`;
  }
  lanes.forEach((lane, n) => { const l = rules[a.r].layer + 1 + n; if (high[l]) { to(lane, top[l]); text += `V${y = top[l] + high[l]}`; } });
  to(...b.in);
  return text;
}
function arrows(room) {
  const at = anchors(room), group = pic("g", {"class": "arrows"});
  for (const [key, all] of joined) {
    const [from, to] = key.split(">").map(Number), [implied, lanes] = D.arrows[key];
    const chosen = state.rule >= 0 && (from === state.rule || to === state.rule);
    const about = {"class": chosen ? "chosen" : implied ? "faint" : "", "marker-end": "url(#head)"};
    const single = !state.open.has(from) && !state.open.has(to), drawn = new Set();
    for (const [n, j] of all) {
      if (state.set && !(state.set.has(n) && state.set.has(j))) continue;
      const a = at.get(n), b = at.get(j), ends = `${a.key}>${b.key}`;
      if (drawn.has(ends)) continue;
      drawn.add(ends);
      group.append(pic("path", {d: curve(a, b, lanes, room), ...about}));
      if (single) break;
    }
  }
  return group;
}
function box(r, room) {
  const rule = rules[r], own = room.shown[r], y = room.top[rule.layer], open = state.open.has(r);
  const count = own.length === rule.jobs.length ? (own.length > 1 ? `×${own.length}` : "") : `${own.length} of ${rule.jobs.length}`;
  const chosen = r === state.rule || (state.job >= 0 && jobs[state.job].r === r);
  const head = pic("g", {role: "button", tabindex: "0", "data-key": `${r}`, "data-rule": rule.name, "aria-expanded": open,
    "aria-label": `rule ${rule.name}, stage ${rule.stage}, ${many(own.length, "job")}, ${span(total(own))}`, "class": "rule"},
    pic("title", {}, rule.doc),
    pic("rect", {x: rule.x, y, width: rule.w, height: room.tall[r], rx: 7, "class": `${rule.stage}${chosen ? " chosen" : ""}`}),
    pic("text", {x: rule.x + 10, y: y + 21}, rule.name),
    pic("text", {x: rule.x + rule.w - 8, y: y + 21, "text-anchor": "end", "class": "count"}, count));
  head.addEventListener("click", () => { open ? state.open.delete(r) : opened(r); go("rule=" + rule.name); });
  const group = pic("g", {}, head);
  if (open) own.slice(0, MOST_ROWS).forEach((j, n) => group.append(row(j, rule, y + BOX + n * ROW, `${r}.${n}`)));
  if (open && own.length > MOST_ROWS)
    group.append(pic("text", {x: rule.x + 12, y: y + BOX + MOST_ROWS * ROW + 14, "class": "count"}, `${own.length - MOST_ROWS} more in the list`));
  return group;
}
// Opens a rule; if too many rows are open then, those that were opened first close
function opened(r) {
  state.open.add(r);
  const rows = () => [...state.open].reduce((sum, n) => sum + Math.min(rules[n].jobs.length, MOST_ROWS), 0);
  for (const first of [...state.open]) if (first !== r && rows() > MOST_OPEN) state.open.delete(first);
}
function row(j, rule, y, key) {
  const g = pic("g", {role: "button", tabindex: "0", "data-key": key, "aria-label": `job ${jobName(j)}`, "class": "job"},
    pic("title", {}, jobName(j)),
    pic("rect", {x: rule.x + 4, y, width: rule.w - 8, height: ROW - 2, rx: 4, "class": j === state.job ? "chosen" : ""}),
    pic("text", {x: rule.x + 10, y: y + 13}, cut(jobs[j].about || "the only job", (rule.w - 20) / 6.7)));
  g.addEventListener("click", () => go("job=" + jobName(j)));
  return g;
}
let scale = 0;
function draw() {
  if (state.view !== "picture") return;
  const holder = $("picture"), key = holder.contains(document.activeElement) && document.activeElement.dataset.key;
  const room = boxes(), size = [D.width + 2 * EDGE, Math.max(room.height, 60)];
  if (!scale) scale = Math.min(1, Math.max(0.7, holder.clientWidth / size[0]));
  const picture = pic("svg", {viewBox: `${-EDGE} 0 ${size[0]} ${size[1]}`, width: size[0] * scale, height: size[1] * scale, role: "group", "aria-label": "The rules and their arrows"},
    pic("defs", {}, pic("marker", {id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto"}, pic("path", {d: "M0 0L8 4L0 8z"}))),
    arrows(room));
  rules.map((_, r) => r).filter(r => room.shown[r].length).sort((a, b) => rules[a].layer - rules[b].layer || rules[a].x - rules[b].x)
    .forEach(r => picture.append(box(r, room)));
  if (!state.set || state.set.size) holder.replaceChildren(picture); else holder.replaceChildren(el("p", {}, "No job: the picture is empty."));
  if (key) holder.querySelector(`[data-key="${key}"]`)?.focus({preventScroll: true});
}
$("picture").addEventListener("keydown", event => {
  const here = event.target.closest("[data-key]");
  if (!here) return;
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); here.dispatchEvent(new MouseEvent("click")); }
  const aim = {ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0]}[event.key];
  if (!aim) return;
  event.preventDefault();
  const middle = e => { const b = e.querySelector("rect").getBoundingClientRect(); return [b.left + b.width / 2, b.top + Math.min(b.height, 20) / 2]; };
  const [x, y] = middle(here);
  let best = null, least = Infinity;
  for (const other of $("picture").querySelectorAll("[data-key]")) {
    const [ox, oy] = middle(other), ahead = (ox - x) * aim[0] + (oy - y) * aim[1], beside = Math.abs((ox - x) * aim[1]) + Math.abs((oy - y) * aim[0]);
    if (ahead > 2 && ahead + 2.5 * beside < least) [best, least] = [other, ahead + 2.5 * beside];
  }
  best?.focus();
});
document.addEventListener("keydown", event => {
  if (event.key !== "Escape" || state.view !== "picture") return;
  const r = state.rule >= 0 ? state.rule : state.job >= 0 ? jobs[state.job].r : -1;
  ($("picture").querySelector(`[data-key="${r}"]`) || $("picture").querySelector("[data-key]"))?.focus();
});

// ---------------------------------------------------------------- list, numbers, search
function list() {
  const order = rules.map((_, r) => r).sort((a, b) => rules[a].layer - rules[b].layer || a - b);
  $("list").replaceChildren(el("h2", {}, "All rules, jobs and files"), ...order.map(r => {
    const rule = rules[r];
    return later(`${rule.name}: ${many(rule.jobs.length, "job")}, ${span(total(rule.jobs))}`,
      () => [el("p", {className: "soft"}, rule.doc), el("ul", {}, ...rule.jobs.map(listed))]);
  }));
}
const names = jobs_ => jobs_.length ? jobs_.slice(0, MOST).map(jobName).join(", ") + (jobs_.length > MOST ? ` and ${jobs_.length - MOST} more` : "") : "none";
const listed = j => el("li", {}, link(jobName(j), "job=" + jobName(j)),
  el("div", {className: "soft"}, `needs ${names(jobs[j].needs)}; needed by ${names(after[j])}`));
function choose(label, values, value, changed) {
  const select = el("select", {onchange: () => changed(select.value)}, ...values.map(v => el("option", {value: v}, v)));
  select.value = value;
  return el("label", {}, label + " ", select);
}
let chosenRun, chosenSuite;
function table() {
  const holder = $("numbers");
  if (!numbers.length) return holder.replaceChildren(el("p", {}, "There is no evaluation table."));
  const runs = [...new Set(numbers.map(part => part.run))];
  chosenRun = runs.includes(chosenRun) ? chosenRun : runs[0];
  const suites = numbers.filter(part => part.run === chosenRun).map(part => part.suite);
  chosenSuite = suites.includes(chosenSuite) ? chosenSuite : suites[0];
  const n = numbers.findIndex(part => part.run === chosenRun && part.suite === chosenSuite), part = numbers[n];
  const systems = [...new Set(part.rows.map(cell => cell[0]))], metrics = [...new Set(part.rows.map(cell => cell[1]))];
  const at = new Map(part.rows.map((cell, row) => [cell[0] + "\n" + cell[1], row]));
  const body = metrics.map(metric => el("tr", {}, el("th", {scope: "row"}, metric), ...systems.map(system => {
    const row = at.get(system + "\n" + metric);
    return el("td", {}, row === undefined ? "" : link(part.rows[row][2], `number=${n}.${row}`, `${metric} of ${system} is ${part.rows[row][2]}: where does this number come from?`));
  })));
  holder.replaceChildren(el("h2", {}, "Where does this number come from? Choose it."),
    el("p", {}, choose("Run", runs, chosenRun, v => { chosenRun = v; table(); }), " ", choose("Suite", suites, chosenSuite, v => { chosenSuite = v; table(); })),
    el("div", {className: "wide"}, el("table", {}, el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "metric"), ...systems.map(s => el("th", {scope: "col"}, s)))), el("tbody", {}, ...body))));
}
function show(view) {
  state.view = view;
  for (const name of ["picture", "list", "numbers"]) {
    $(name).hidden = name !== view;
    $("to-" + name).setAttribute("aria-pressed", name === view);
  }
  $("zoom").hidden = view !== "picture";
  if (view === "list" && !$("list").children.length) list();
  if (view === "numbers" && !$("numbers").children.length) table();
  draw();
}
for (const name of ["picture", "list", "numbers"]) $("to-" + name).addEventListener("click", () => {
  document.querySelector("main").className = ""; // on a narrow screen what was chosen lay above the view
  show(name);
});
for (const [name, by] of [["smaller", 1 / 1.25], ["larger", 1.25]]) $(name).addEventListener("click", () => { scale = Math.min(3, Math.max(0.25, scale * by)); draw(); });
$("search").addEventListener("input", () => {
  const wanted = $("search").value.trim().toLowerCase(), most = 30;
  const found = wanted ? [...jobs.map((_, j) => ["job", jobName(j)]), ...files.map(file => ["file", file[0]])].filter(([, name]) => name.toLowerCase().includes(wanted)) : [];
  $("found").replaceChildren(...found.slice(0, most).map(([kind, name]) => el("li", {}, kind + " ", link(name, `${kind}=${name}`))),
    ...(found.length > most ? [el("li", {}, `${found.length - most} more: write more of the name`)] : []),
    ...(wanted && !found.length ? [el("li", {}, "No job and no file has this in its name.")] : []));
});
addEventListener("hashchange", take);
show("picture");
take();
performance.mark("ready");
document.body.dataset.ready = "yes";
})();
