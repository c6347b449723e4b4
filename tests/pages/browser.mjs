// A headless browser that is signed in, for the scripts beside this one. Where the modules are: NODE_MODULES. Which browser: BROWSER.
import { createRequire } from "node:module";
import { join } from "node:path";

export const require = createRequire(join(process.env.NODE_MODULES, "from-here.js"));
const { chromium } = require("playwright-core");

export const start = () => chromium.launch({ executablePath: process.env.BROWSER, args: ["--no-sandbox"] });

// What is wrong so far: errors on the console, which are also what the content security policy stops, and of scripts.
export const wrong = [];

export async function signedIn(browser, address, cookie, ways) {
  const context = await browser.newContext(ways);
  const [name, value] = cookie.split("=");
  await context.addCookies([{ name, value, url: address }]);
  return context;
}

// In a tab of its own.
export async function open(context, address, page) {
  const tab = await context.newPage();
  await go(tab, address, page);
  return tab;
}

export async function go(tab, address, page) {
  if (!tab.listenerCount("console")) {
    tab.on("console", (message) => message.type() === "error" && wrong.push(`${tab.url()}: ${message.text()}`));
    tab.on("pageerror", (error) => wrong.push(`${tab.url()}: ${error}`));
  }
  const answer = await tab.goto(address + page);
  if (answer.status() !== 200) wrong.push(`${page}: expected 200, found ${answer.status()}`);
}

export async function end(browser) {
  await browser.close();
  for (const line of wrong) console.log(`wrong ${line}`);
  process.exit(wrong.length ? 1 : 0);
}

// What went wrong is said also when a step that waits gives up.
process.on("uncaughtException", (error) => {
  for (const line of [...wrong, error]) console.log(`wrong ${line}`);
  process.exit(1);
});
