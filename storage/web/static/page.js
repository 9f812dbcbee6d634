// Refreshes the rows of the latest calls every two seconds while the page is looked at.
"use strict";
const rows = document.getElementById("rows");
const note = document.getElementById("refresh");
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(rows.dataset.source, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    rows.innerHTML = await answer.text(); // escaped by the server, as the page itself is
    note.textContent = "live";
  } catch {
    note.textContent = "storage does not answer; trying again";
  }
}
if (rows && rows.dataset.source) setInterval(refresh, 2000);
