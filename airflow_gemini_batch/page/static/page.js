"use strict";
// Airflow shows this page in a frame that may neither open a tab nor leave for another page. So Airflow's own page
// follows the links, and says whether it is dark.
const airflow = window.parent;
if (airflow !== window) {
  const root = airflow.document.documentElement;
  const takeTheme = () => {
    document.documentElement.dataset.theme = root.classList.contains("dark") ? "dark" : "light";
  };
  takeTheme();
  new MutationObserver(takeTheme).observe(root, { attributeFilter: ["class"] });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[target]");
    if (!link) return;
    event.preventDefault();
    const outside = airflow.document.createElement("a");
    outside.href = link.href;
    outside.target = link.target;
    outside.rel = "noopener noreferrer";
    outside.click();
  });
}
