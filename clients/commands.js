// Spoken commands on the captions page: what is asked, what became of it, and the buttons of those who may answer.
//
// Nothing moves under a finger: the buttons have their places from the first command on, and a question takes no answer
// in its first moments, so that a press that was meant for the former one can't reach it.

const ARM_MS = 700; // a question that has just appeared takes no press yet
const OPEN = ["proposed", "awaiting_confirmation", "confirmed", "dispatched"];

/** What stands on the page beside what the server says, in the languages that the page knows. */
const TEXTS = {
  en: {
    unknown: "Not understood",
    shadow: "[shadow]",
    word: "Code word",
    confirm: "Confirm",
    both: "Confirm (two persons)",
    deny: "Deny",
    cancel: "Cancel",
    wasDone: "It was done",
    wasNot: "It was not done",
    states: {
      proposed: "About to do",
      dispatched: "Sent",
      confirmed: "Confirmed",
      denied: "Denied",
      expired: "Not done",
      rejected: "Not done",
      succeeded: "Done",
      failed: "Failed",
    },
  },
  de: {
    unknown: "Nicht verstanden",
    shadow: "[Probe]",
    word: "Codewort",
    confirm: "Bestätigen",
    both: "Bestätigen (zwei Personen)",
    deny: "Ablehnen",
    cancel: "Abbrechen",
    wasDone: "Ausgeführt",
    wasNot: "Nicht ausgeführt",
    states: {
      proposed: "Gleich",
      dispatched: "Gesendet",
      confirmed: "Bestätigt",
      denied: "Abgelehnt",
      expired: "Nicht ausgeführt",
      rejected: "Nicht ausgeführt",
      succeeded: "Ausgeführt",
      failed: "Fehlgeschlagen",
    },
  },
};

/** The first of the languages that a browser prefers (tags such as de-AT) that the page knows. */
export function spoken(preferred) {
  return preferred.map((tag) => tag.toLowerCase().split("-")[0]).find((language) => language in TEXTS) ?? "en";
}

/** What to tell of a command: {asks, text, word, yes, no}; `yes` and `no` are labels of buttons, null for none. */
export function tell(command, language = "en") {
  const texts = TEXTS[language];
  const named = `${command.name ?? texts.unknown}${values(command.params)}`;
  const because = command.reason ? ` – ${command.reason}` : "";
  const by = command.by ? ` (${command.by})` : "";
  const state = texts.states[command.state] ?? command.state;
  const plain = (text) => ({
    asks: false, text: command.shadow ? `${texts.shadow} ${text}` : text, word: null, yes: null, no: null,
  });
  switch (command.state) {
    case "proposed":
      return { ...plain(`${state}: ${named}`), asks: true, no: texts.cancel };
    case "awaiting_confirmation":
      return {
        ...plain(`${command.prompt}${because}`),
        asks: true,
        word: command.codeword,
        yes: command.confirm === "two_person" ? texts.both : texts.confirm,
        no: texts.deny,
      };
    case "dispatched":
      if (command.prompt) return { ...plain(`${command.prompt}${because}`), asks: true, yes: texts.wasDone, no: texts.wasNot };
      return plain(`${state}: ${named}`);
    case "confirmed":
      return plain(`${state}: ${named}${by}`);
    default:
      return plain(`${state}: ${named}${because}${by}`);
  }
}

function values(params) {
  const shown = Object.entries(params).map(([key, value]) => `${key} ${value}`);
  return shown.length ? ` (${shown.join(", ")})` : "";
}

/** The oldest question that is open, or else the newest command; null: there is none. */
export function foremost(commands) {
  return commands.find((command) => OPEN.includes(command.state) && tell(command).asks) ?? commands.at(-1) ?? null;
}

/** The part of the page that shows commands. `send(message)` says whether it could be sent. */
export class Commands {
  #box;
  #send;
  #told;
  #question;
  #word;
  #yes;
  #no;
  #shown = null; // the event that is shown
  #armed = 0; // id of the timer that arms the buttons
  #language;

  constructor(document, send, preferred = ["en"]) {
    const find = (id) => document.getElementById(id);
    this.#box = find("commands");
    this.#told = find("command-told");
    this.#question = find("command-question");
    this.#word = find("command-word");
    this.#yes = find("command-yes");
    this.#no = find("command-no");
    this.#send = send;
    this.#language = spoken(preferred);
    for (const element of [this.#yes, this.#no, this.#word]) element.lang = this.#language;
    this.#yes.addEventListener("click", () => this.#answer("confirm"));
    this.#no.addEventListener("click", () => this.#answer("deny"));
  }

  show(commands, mayAnswer) {
    const command = foremost(commands);
    this.#box.hidden = command === null;
    if (command === null) return;
    const { asks, text, word, yes, no } = tell(command, this.#language);
    put(this.#question, asks ? text : "");
    put(this.#word, word ? `${TEXTS[this.#language].word}: ${word}` : "");
    put(this.#told, asks ? "" : text);
    this.#box.dataset.asks = asks;
    label(this.#yes, mayAnswer ? yes : null);
    label(this.#no, mayAnswer ? no : null);
    if (command === this.#shown) return;
    const same = command.command_id === this.#shown?.command_id && command.prompt === this.#shown?.prompt;
    this.#shown = command;
    if (!same) this.#arm();
    else this.#enable(true);
  }

  #arm() {
    clearTimeout(this.#armed);
    this.#enable(false);
    this.#armed = setTimeout(() => this.#enable(true), ARM_MS);
  }

  #enable(on) {
    for (const button of [this.#yes, this.#no]) button.setAttribute("aria-disabled", String(!on)); // keeps the focus
  }

  #answer(type) {
    if (this.#yes.getAttribute("aria-disabled") === "true" || this.#shown === null) return;
    const { command_id, codeword } = this.#shown;
    const word = type === "confirm" && codeword ? { word: codeword } : {};
    if (this.#send({ type, command_id, ...word })) this.#arm();
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button without a label keeps its place and can't be seen or reached. */
function label(button, text) {
  button.style.visibility = text === null ? "hidden" : "";
  if (text !== null) put(button, text);
}
