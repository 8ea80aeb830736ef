// The three pages: captions, overlay and text. <body data-page="…"> says which one this is.

import { Commands } from "./commands.js";
import { Connection, Place } from "./connection.js";
import { View, describe } from "./view.js";

const SCROLLBACK = 2_000; // utterances that the page keeps; all of them are in the transcript
const COMMANDS = 20; // the newest of them, among which is what asks
const SPOKEN_LOG = 200; // the same for screen readers
const AT_END_PX = 40; // this close to the end counts as following
const QUIET_MS = 1_000; // what was said before one came is there to be read, and not read aloud

/**
 * One utterance. Text that stands is only ever appended to, so that it can be selected and does not flicker; what a
 * second reading corrects is put right in its place if no line moves.
 */
class Line {
  constructor(tag, id, corrects) {
    this.corrects = corrects;
    this.element = document.createElement(tag);
    this.element.dir = "auto";
    this.element.dataset.id = id;
    this.stable = this.#half("stable");
    this.space = this.element.appendChild(document.createTextNode("")); // between them, so that it is not underlined
    this.tentative = this.#half("tentative");
  }

  #half(name) {
    const span = document.createElement("span");
    span.className = name;
    this.element.append(span);
    return span.appendChild(document.createTextNode(""));
  }

  show(item) {
    if (item === this.item) return;
    const wasFinal = this.item?.isFinal;
    this.item = item;
    if (item.isRevised && wasFinal) return this.corrects && this.#correct(item);
    const standing = this.stable.data;
    if (!item.stable.startsWith(standing)) this.stable.data = item.stable;
    else if (item.stable !== standing) this.stable.appendData(item.stable.slice(standing.length));
    const words = item.tentative.trimStart();
    this.space.data = item.tentative.slice(0, item.tentative.length - words.length);
    if (this.tentative.data !== words) this.tentative.data = words;
    this.element.className = item.isFinal ? `${item.kind} final` : item.kind;
    if (item.language) this.element.lang = item.language;
  }

  #correct({ text }) {
    const [standing, height] = [this.stable.data, this.element.offsetHeight];
    this.stable.data = text;
    if (this.element.offsetHeight !== height) this.stable.data = standing;
  }
}

/** Shows items as the children of an element; touches only those that changed. */
class Lines {
  #box;
  #tag;
  #corrects;
  #lines = new Map(); // id → Line, ascending like the children

  constructor(box, tag = "p", corrects = true) {
    this.#corrects = corrects;
    this.#box = box;
    this.#tag = tag;
  }

  show(items) {
    const wanted = new Set(items.map((item) => item.id));
    for (const [id, line] of this.#lines) {
      if (!wanted.has(id)) {
        line.element.remove();
        this.#lines.delete(id);
      }
    }
    let next = this.#box.firstElementChild;
    for (const item of items) {
      const line = this.#lines.get(item.id) ?? this.#insert(item.id, next);
      line.show(item);
      next = line.element.nextElementSibling;
    }
  }

  #insert(id, next) {
    const line = new Line(this.#tag, id, this.#corrects);
    this.#lines.set(id, line);
    this.#box.insertBefore(line.element, next);
    return line;
  }
}

/** Finals for screen readers. Growing text is never announced, and neither is what was said before one came. */
class SpokenLog {
  #log;
  #lines;

  constructor(log, list = log, tag = "p") {
    this.#log = log;
    this.#lines = new Lines(list, tag, false); // a whole line would be read again for one word
  }

  show(view) {
    this.#lines.show(view.items(SPOKEN_LOG).filter((item) => item.isFinal));
  }

  hush() {
    this.#log.setAttribute("aria-live", "off");
    setTimeout(() => this.#log.setAttribute("aria-live", "polite"), QUIET_MS);
  }
}

/** Keeps a scroller at its end, unless the reader has scrolled away from there. */
class Following {
  #scroller;
  #button;
  #on = true;

  constructor(scroller, button) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#set(this.#isAtEnd()), { passive: true });
    button.addEventListener("click", () => {
      this.#set(true);
      this.keep();
      scroller.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.keep()).observe(scroller);
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < AT_END_PX;
  }

  #set(on) {
    this.#on = on;
    this.#button.hidden = on;
  }

  keep() {
    if (this.#on) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

/** The status line. Only the headline is announced: figures change all the time. */
class StatusLine {
  constructor(box, announcer) {
    this.box = box;
    this.announcer = announcer;
  }

  show({ mood, headline, details }) {
    const text = [headline, ...details].join(" · ");
    this.box.dataset.mood = mood;
    if (this.box.textContent !== text) this.box.textContent = text;
    if (this.announcer && this.announcer.textContent !== headline) this.announcer.textContent = headline;
  }
}

/** Calls `paint` in the next frame, once however often it is asked. */
function onceAFrame(paint) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      paint();
    });
  };
}

const UNASKED = { commands: 0 }; // of pages that don't show what commands ask

const byId = (id) => document.getElementById(id);

function start(paint, welcomed, asks) {
  const view = new View();
  const place = new Place(location);
  const connection = new Connection({ place, view, welcomed, asks, changed: onceAFrame(() => paint(view, connection.link, place)) });
  for (const event of ["online", "pageshow", "session-fed"]) addEventListener(event, () => connection.retry());
  document.addEventListener("visibilitychange", () => {
    connection.check();
    connection.retry();
  });
  paint(view, connection.link, place);
  return connection;
}

function captionsPage() {
  const lines = new Lines(byId("captions"));
  const log = new SpokenLog(byId("log"));
  const following = new Following(byId("scroller"), byId("live"));
  const status = new StatusLine(byId("status"), byId("announcer"));
  const commands = new Commands(document, (message) => connection.send(message), navigator.languages);
  const paint = (view, link, place) => {
    lines.show(view.items(SCROLLBACK));
    commands.show(view.commands(COMMANDS), link.state === "open" && view.role === "operator");
    following.keep();
    log.show(view);
    status.show(describe(link, view));
    name(place);
  };
  const connection = start(paint, ({ seq }) => seq === 0 && log.hush());
}

let named = null;

/** Everything on the page that depends on the session's name, once it is known. */
function name(place) {
  if (place.name === named) return;
  named = place.name;
  byId("session").textContent = named ?? "";
  document.title = named ? `${named} · live captions` : "Live captions";
  byId("transcript").hidden = named === null;
  for (const link of byId("transcript").querySelectorAll("a")) {
    if (named) link.href = place.url(`transcript.${link.dataset.format}`);
  }
}

function textPage() {
  const log = new SpokenLog(byId("log"), byId("finals"), "li");
  const status = new StatusLine(byId("status"));
  const paint = (view, link) => {
    log.show(view);
    const told = describe(link, view);
    status.show({ ...told, details: [] });
  };
  start(paint, ({ seq }) => seq === 0 && log.hush(), UNASKED);
}

/** For on air: no status, no errors; what was said last stays. */
function overlayPage() {
  const count = style(new URLSearchParams(location.search));
  const lines = new Lines(byId("captions"));
  start((view) => lines.show(view.items(count)), undefined, UNASKED);
}

/** The overlay's looks from its address: size, lines, fg, bg, font, align. Returns the number of lines. */
function style(query) {
  const root = document.documentElement.style;
  const set = (key, property, value) => {
    if (value && CSS.supports(property, value)) root.setProperty(`--${key}`, value);
  };
  const colour = (value) => (/^[0-9a-f]{3,8}$/i.test(value ?? "") ? `#${value}` : value); // `#` ends an address
  const size = query.get("size");
  set("size", "font-size", /^[\d.]+$/.test(size ?? "") ? `${size}px` : size);
  set("fg", "color", colour(query.get("fg")));
  set("bg", "background-color", colour(query.get("bg")));
  set("font", "font-family", query.get("font"));
  set("align", "text-align", query.get("align"));
  const count = Math.min(20, Math.max(1, Number.parseInt(query.get("lines") ?? "", 10) || 2));
  root.setProperty("--lines", count);
  return count;
}

({ captions: captionsPage, text: textPage, overlay: overlayPage })[document.body.dataset.page]();
