// A figure enlarges on click or Enter; a click or Esc closes it.
"use strict";
const zoom = document.getElementById("zoom");
for (const drawing of document.querySelectorAll(".drawing")) {
  const open = () => {
    zoom.style.cssText = drawing.parentElement.style.cssText;
    zoom.replaceChildren(drawing.firstElementChild.cloneNode(true));
    zoom.showModal();
  };
  drawing.tabIndex = 0;
  drawing.setAttribute("role", "button");
  drawing.addEventListener("click", open);
  drawing.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open();
    }
  });
}
zoom.addEventListener("click", () => zoom.close());
