// The token of a visit in the page's address, so that a reload goes on with it: without a step in the browser's history.

/**
 * @import { Component } from "../dom.js"
 */

/** `data`: the token, and the page, with which it comes again. @param {Component<string[]>} component */
export default function mount({ data: [token] }) {
  const address = new URL(window.location.href);
  if (address.searchParams.get("visit") === token) return;
  address.searchParams.set("visit", token);
  window.history.replaceState(window.history.state, "", address);
}
