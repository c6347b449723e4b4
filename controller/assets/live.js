// Puts in place what the controller sends when something changed. Without it the pages are as they were when they were asked for.
const place = document.querySelector("main[data-live]");
const sign = document.getElementById("live");
if (place && sign) {
  const { live, notLive, silent, loadAgain } = sign.dataset;
  const say = (text) => { if (sign.textContent !== text) sign.textContent = text; };
  const source = new EventSource("/live?page=" + encodeURIComponent(location.pathname));
  let away = "";
  source.onopen = () => (away = "");
  source.onerror = () => say(`${notLive}: ${away || (source.readyState === EventSource.CLOSED ? loadAgain : silent)}`);
  source.addEventListener("away", (event) => (away = event.data));
  source.onmessage = (event) => {
    say(live);
    const open = [...place.querySelectorAll("details[open]")].map((found) => found.id);
    // What somebody is typing stays.
    const typed = [...place.querySelectorAll("input[id], select[id]")].map((found) => [found.id, found.value]);
    const focus = document.activeElement && place.contains(document.activeElement) ? document.activeElement.id : "";
    // The same page, made by the same templates, which escape what somebody else chose.
    place.innerHTML = event.data;
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    typed.forEach(([id, value]) => { const found = document.getElementById(id); if (found) found.value = value; });
    document.dispatchEvent(new Event("backstay:shown"));
    if (focus) document.getElementById(focus)?.focus();
  };
  source.addEventListener("gone", () => { source.close(); location.reload(); });
}
// A page that is out of reach is asked for again until it is not.
if (document.querySelector("[data-again]")) {
  const again = () => fetch(location, { cache: "no-store" }).then((answer) => answer.status !== 503 && location.reload(), () => {});
  setInterval(again, 5000);
}
