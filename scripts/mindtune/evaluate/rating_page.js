"use strict";
// The page of raters. Every text of data goes through textContent; nothing is fetched or sent.
const sheet = JSON.parse(document.getElementById("data").textContent);
const WORDS = {
  zh: {
    title: "回复评分", lead: "请先选择您的编号，再逐条阅读并回答。两条回复的顺序是随机的。内容只保存在这台设备上。",
    rater: "评分者编号", choose: "请选择", pair: "第 {0} / {1} 组", prompt: "来访者的话", reply: "回复 {0}",
    yes: "是", no: "否", note: "备注（可不填）", before: "上一组", after: "下一组", open: "下一个未答的",
    left: "还有 {0} 个未答", done: "全部答完，请导出", save: "导出 CSV", show: "以文本显示",
    unsaved: "此浏览器不能保存所填内容：关闭前请先导出。", other: "English",
  },
  en: {
    title: "Rate the replies", lead: "Choose your number first, then read and answer. The two replies are in random order. What you enter stays on this device.",
    rater: "Rater", choose: "choose", pair: "Pair {0} of {1}", prompt: "What the client said", reply: "Reply {0}",
    yes: "Yes", no: "No", note: "Note (optional)", before: "Back", after: "Next", open: "Next unanswered",
    left: "{0} unanswered", done: "All answered: please export", save: "Export CSV", show: "Show as text",
    unsaved: "This browser cannot keep what you enter: export it before you close the page.", other: "中文",
  },
};
const asked = new Map(sheet.questions.map((question) => [question.name, question]));
const pairs = [];
for (const row of sheet.rows) {
  const name = row.row.slice(0, -1);
  if (!pairs.length || pairs[pairs.length - 1].name !== name) pairs.push({ name, rows: [] });
  pairs[pairs.length - 1].rows.push(row);
  row.prompt ??= pairs[pairs.length - 1].rows[0].prompt;
}
let language = sheet.language || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
let rater = "";
let place = 0;
let given = {};
let kept = true;

function word(key, ...values) {
  return WORDS[language][key].replace(/\{(\d)\}/g, (_, number) => values[number]);
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function store(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch (error) {
    kept = false;
  }
  return null;
}

const slot = () => `mindtune ${sheet.sheet} ${rater}`;

function load() {
  try {
    given = JSON.parse(store(slot()) || "{}");
  } catch (error) {
    given = {};
  }
}

function keep(row, column, value) {
  given[row] = { ...given[row], [column]: value };
  store(slot(), JSON.stringify(given));
  status();
}

function unanswered(row) {
  return row.asked.filter((name) => (given[row.row] || {})[name] === undefined);
}

function openAnswers() {
  return sheet.rows.reduce((sum, row) => sum + unanswered(row).length, 0);
}

// As sheet_csv.py: no spreadsheet takes a cell for a formula
function cell(text) {
  const risky = /^[\t\r]|^\s*[=+\-@＝＋－＠']/.test(text);
  return `"${((risky ? "'" : "") + text).replace(/"/g, '""')}"`;
}

function csv() {
  const names = sheet.questions.map((question) => question.name);
  const lines = [[...sheet.columns, ...names, sheet.note].map(cell)];
  for (const row of sheet.rows) {
    const said = given[row.row] || {};
    const answers = names.map((name) => (row.asked.includes(name) ? `"${said[name] ?? ""}"` : `"${sheet.not_asked}"`));
    lines.push([...[sheet.sheet, rater, row.row, row.lang, row.prompt, row.reply].map(cell), ...answers, cell(said[sheet.note] || "")]);
  }
  return `\ufeff${lines.map((line) => `${line.join(",")}\r\n`).join("")}`;
}

function exportFile() {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { href: address, download: `${sheet.sheet}-${rater}.csv` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

function choices(row, question) {
  const values = question.most === 1 ? [1, 0] : Array.from({ length: question.most + 1 }, (_, value) => value);
  return values.map((value) => {
    const input = element("input", { type: "radio", name: `${row.row} ${question.name}`, value: String(value) });
    input.checked = (given[row.row] || {})[question.name] === value;
    input.addEventListener("change", () => {
      keep(row.row, question.name, value);
      input.closest("fieldset").classList.remove("open");
    });
    const shown = question.most === 1 ? word(value ? "yes" : "no") : String(value);
    return element("label", {}, input, shown);
  });
}

function ask(row, name) {
  const question = asked.get(name);
  const made = element(
    "fieldset", {},
    element("legend", { textContent: question[language] }),
    element("div", { className: "choices" }, ...choices(row, question)),
  );
  made.classList.toggle("open", (given[row.row] || {})[name] === undefined);
  return made;
}

function side(row) {
  const note = element("textarea", { value: (given[row.row] || {})[sheet.note] || "" });
  note.setAttribute("aria-label", word("note"));
  note.placeholder = word("note");
  note.addEventListener("input", () => keep(row.row, sheet.note, note.value));
  const text = element("p", { className: "text", textContent: row.reply, lang: row.lang });
  const title = element("h2", { textContent: word("reply", row.row.slice(-1)) });
  return element("section", {}, title, text, ...row.asked.map((name) => ask(row, name)), note);
}

function status() {
  const open = openAnswers();
  document.getElementById("left").textContent = open ? word("left", open) : word("done");
  document.getElementById("unsaved").hidden = kept;
}

function show() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = word("title");
  for (const made of document.querySelectorAll("[data-word]")) made.textContent = word(made.dataset.word);
  document.getElementById("rater").options[0].textContent = word("choose");
  document.getElementById("work").hidden = !rater;
  for (const name of ["save", "open", "show"]) document.getElementById(name).disabled = !rater;
  status();
  if (!rater) return;
  const pair = pairs[place];
  document.getElementById("pair").textContent = word("pair", place + 1, pairs.length);
  const prompt = document.getElementById("prompt");
  prompt.textContent = pair.rows[0].prompt;
  prompt.lang = pair.rows[0].lang;
  document.getElementById("sides").replaceChildren(...pair.rows.map(side));
  document.getElementById("before").disabled = place === 0;
  document.getElementById("after").disabled = place === pairs.length - 1;
  document.getElementById("csv").hidden = true;
}

function go(to) {
  place = Math.max(0, Math.min(pairs.length - 1, to));
  store(`${slot()} place`, String(place));
  show();
  document.getElementById("pair").scrollIntoView();
}

const on = (name, action) => document.getElementById(name).addEventListener("click", action);
on("language", () => { language = language === "zh" ? "en" : "zh"; show(); });
on("before", () => go(place - 1));
on("after", () => go(place + 1));
on("save", exportFile);
on("open", () => {
  const next = pairs.findIndex((pair) => pair.rows.some((row) => unanswered(row).length));
  if (next >= 0) go(next);
});
on("show", () => {
  const area = document.getElementById("csv");
  area.value = csv();
  area.hidden = false;
  area.select();
});
const select = document.getElementById("rater");
select.append(...sheet.raters.map((name) => element("option", { value: name, textContent: name })));
select.addEventListener("change", () => {
  rater = select.value;
  load();
  go(Number(store(`${slot()} place`)) || 0);
});
show();
