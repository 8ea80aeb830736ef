// Spoken commands on the captions page: what is asked, what became of it, and the buttons of those who may answer.
//
// Nothing moves under a finger: the buttons have their places from the first command on, and a question takes no answer
// in its first moments, so that a press that was meant for the former one can't reach it.

const ARM_MS = 700; // a question that has just appeared takes no press yet
const OPEN = ["proposed", "awaiting_confirmation", "confirmed", "dispatched"];

/** What to tell of a command: {asks, text, word, yes, no}; `yes` and `no` are labels of buttons, null for none. */
export function tell(command) {
  const named = `${command.name ?? "Not understood"}${values(command.params)}`;
  const because = command.reason ? ` – ${command.reason}` : "";
  const by = command.by ? ` (${command.by})` : "";
  const plain = (text) => ({ asks: false, text: command.shadow ? `[shadow] ${text}` : text, word: null, yes: null, no: null });
  switch (command.state) {
    case "proposed":
      return { ...plain(`About to do: ${named}`), asks: true, no: "Cancel" };
    case "awaiting_confirmation":
      return {
        ...plain(`${command.prompt}${because}`),
        asks: true,
        word: command.codeword,
        yes: command.confirm === "two_person" ? "Confirm (two persons)" : "Confirm",
        no: "Deny",
      };
    case "dispatched":
      if (command.prompt) return { ...plain(`${command.prompt}${because}`), asks: true, yes: "It was done", no: "It was not done" };
      return plain(`Sent: ${named}`);
    case "confirmed":
      return plain(`Confirmed: ${named}${by}`);
    default:
      return plain(`${ENDS[command.state] ?? command.state}: ${named}${because}${by}`);
  }
}

const ENDS = {
  denied: "Denied",
  expired: "Not done",
  rejected: "Not done",
  succeeded: "Done",
  failed: "Failed",
};

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

  constructor(document, send) {
    const find = (id) => document.getElementById(id);
    this.#box = find("commands");
    this.#told = find("command-told");
    this.#question = find("command-question");
    this.#word = find("command-word");
    this.#yes = find("command-yes");
    this.#no = find("command-no");
    this.#send = send;
    this.#yes.addEventListener("click", () => this.#answer("confirm"));
    this.#no.addEventListener("click", () => this.#answer("deny"));
  }

  show(commands, mayAnswer) {
    const command = foremost(commands);
    this.#box.hidden = command === null;
    if (command === null) return;
    const { asks, text, word, yes, no } = tell(command);
    put(this.#question, asks ? text : "");
    put(this.#word, word ? `Code word: ${word}` : "");
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
