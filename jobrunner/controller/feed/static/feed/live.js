// Keeps an open page up to date. Whoever runs no scripts sees the same by loading the page again.
//
// The server tells of changes as events; the page then fetches its part anew, as the server renders it, and
// takes over what differs. What did not change stays as it is, with its focus, selection and scroll.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const connection = document.getElementById("connection");
  const announcements = document.getElementById("announcements");
  const WORDS = { live: "Live", waiting: "Reconnecting; this may be out of date" };
  const GATHER_MS = 400;
  const SPREAD_MS = 600;
  const ANNOUNCE_MS = 4000;
  const LOOK_ANYWAY_MS = 60000;
  let source = null;
  let timer = 0;
  let fetching = false;
  let again = false;
  let news = [];
  let announcing = 0;

  function show(state) {
    connection.hidden = false;
    connection.dataset.state = state;
    if (connection.textContent !== WORDS[state]) connection.textContent = WORDS[state];
    document.documentElement.classList.toggle("is-live", state === "live");
  }

  // Two elements stand for the same thing when their ids agree, or their kinds where neither has one.
  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }

  function takeAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function takeOver(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    takeAttributes(old, fresh);
    const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let next = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = wanted.id ? byId.get(wanted.id) : next;
      if (!found || !alike(found, wanted)) {
        found = document.importNode(wanted, true);
        if (found.nodeType === Node.ELEMENT_NODE && found.id) found.classList.add("is-new");
        old.insertBefore(found, next);
        continue;
      }
      if (found === next) next = next.nextSibling;
      else old.insertBefore(found, next);
      takeOver(found, wanted);
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  async function refresh() {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    again = false;
    try {
      const answer = await fetch(live.dataset.part, { credentials: "omit", signal: AbortSignal.timeout(15000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".part");
      if (!fresh) throw new Error("no part");
      takeOver(live.querySelector(".part"), fresh);
      const made = document.getElementById("made");
      made.dateTime = fresh.dataset.made;
      made.textContent = fresh.dataset.shown;
      if (source && source.readyState === EventSource.OPEN) show("live");
    } catch {
      show("waiting");
      again = true;
    }
    fetching = false;
    if (again) soon(5000);
  }

  // Changes often come together, and many pages hear of each: gather them, and do not all ask at once.
  function soon(extra = 0) {
    if (!timer && !document.hidden) {
      timer = setTimeout(() => { timer = 0; refresh(); }, GATHER_MS + extra + Math.random() * SPREAD_MS);
    }
  }

  function announce(event) {
    try {
      const { action, state } = JSON.parse(event.data);
      news.push(`${action}: ${state === "pending" ? "waiting" : state}`);
    } catch { return; }
    announcing ||= setTimeout(() => {
      announcing = 0;
      announcements.textContent = news.length > 3 ? `${news.length} changes` : news.join(", ");
      news = [];
    }, ANNOUNCE_MS);
  }

  function listen() {
    source = new EventSource(live.dataset.events);
    // Something may have changed between the making of the page and now.
    source.addEventListener("open", () => soon());
    source.addEventListener("job", (event) => { announce(event); soon(); });
    source.addEventListener("reset", () => soon());
    source.addEventListener("error", () => {
      show("waiting");
      // The browser comes back by itself unless the server refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(restart, 30000);
    });
  }

  function leave() {
    source?.close();
    source = null;
    timer = clearTimeout(timer) || 0;
  }

  function restart() {
    leave();
    if (!document.hidden) listen();
  }

  // Nobody looks at a hidden page: it asks for nothing until it is seen again.
  document.addEventListener("visibilitychange", restart);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) restart(); });
  // Some sentences change with time alone.
  setInterval(() => { if (source) soon(); }, LOOK_ANYWAY_MS);
  restart();
})();
