// The key of this browser: made here, not to be copied from here, and used to sign what an approver approves on the page of a plan. What it signs
// is what `backstay plan approve` signs: a line that names the kind, then SHA-256 of the approval's bytes.
const { estate, person } = document.body.dataset;
const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const owner = `${estate}/${person}`;

const kept = (mode, ask) => new Promise((resolve, reject) => {
  const opening = indexedDB.open("backstay", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const asked = ask(opening.result.transaction("keys", mode).objectStore("keys"));
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  };
});

const make = async () => {
  const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  const id = hex(await crypto.subtle.exportKey("raw", pair.publicKey));
  await kept("readwrite", (keys) => keys.put({ id, key: pair.privateKey }, owner));
};

const sign = async (key, approval) => {
  const bytes = new TextEncoder().encode(approval);
  const kind = new TextEncoder().encode("backstay.approval.v1\n");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const message = new Uint8Array(kind.length + digest.length);
  message.set(kind);
  message.set(digest, kind.length);
  return hex(await crypto.subtle.sign({ name: "Ed25519" }, key, message));
};

// On the page Access.
const showKey = (place, own) => {
  const find = (id) => document.getElementById(id);
  const admitted = own && place.dataset.keys.split(" ").includes(`${person}:${own.id}`);
  find("key-make").hidden = Boolean(own);
  find("key-forget").hidden = !own;
  find("key-line").hidden = !own || admitted;
  find("key-state").textContent = !own ? place.dataset.none
    : admitted ? `${place.dataset.admitted} ${own.id}` : place.dataset.notAdmitted;
  if (own) find("key-line").textContent = `backstay trust next --from trust.signed --admit-browser ${person}=${own.id} --key root.key --out next.signed`;
  find("key-make").onclick = () => make().then(show, (error) => { find("key-state").textContent = `${place.dataset.notMade} ${error.message}`; });
  find("key-forget").onclick = () => kept("readwrite", (keys) => keys.delete(owner)).then(show);
};

// On the page of a plan that waits.
const showForm = (form, own) => {
  const admitted = own && form.dataset.keys.split(" ").includes(`${person}:${own.id}`);
  form.hidden = !admitted;
  document.getElementById("approve-no-key").hidden = Boolean(admitted);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const { reason, change, days, approval, key, signature } = form.elements;
    // The clocks of a browser and of a host differ.
    const from = Date.now() - 300_000;
    approval.value = JSON.stringify({
      estate, plans: [form.dataset.plan], person, requester: null, reason: reason.value.trim(), change: change.value.trim() || null,
      not_before: new Date(from).toISOString(), not_after: new Date(from + days.value * 86_400_000).toISOString(),
    });
    key.value = own.id;
    signature.value = await sign(own.key, approval.value);
    form.submit();
  };
};

const show = async () => {
  const place = document.getElementById("browser-key");
  const form = document.getElementById("approve");
  if (!place && !form) return;
  const own = await kept("readonly", (keys) => keys.get(owner));
  if (place) showKey(place, own);
  if (form) showForm(form, own);
};
if (person) {
  show();
  document.addEventListener("backstay:shown", show);
}
