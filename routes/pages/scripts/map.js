// The maps of the pages: what a page shows stands in the attributes of an element with the class `land-map`.
import { drawing } from "./drawing.js";
import { landMap } from "./land_map.js";
import { orderForm } from "./order.js";
import { pictureButton } from "./picture.js";
import { placesOf } from "./places.js";
import { search } from "./search.js";

for (const element of document.querySelectorAll(".land-map")) {
  const map = landMap(element);
  search(map, element, async () => {
    await map.get("loaded");
    return placesOf(map.get("shown"), map.getLayers().item(0));
  });
  const form = element.closest("form");
  if (form) orderForm(form, drawing(map, element));
  const tools = Object.assign(document.createElement("p"), { className: "tools" });
  tools.append(pictureButton(map));
  (element.parentElement.querySelector(".legend-of-map") ?? element).after(tools);
}
