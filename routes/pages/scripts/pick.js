// Features of the map's collections that are picked for an order, several into one: by a click, or with the keys under the cross in the middle.

/** Return whether the map picks: `start(act)` has each click and Enter call `act` with the smallest polygon there and a key that no other has, `stop()` ends it. */
export function picking(map) {
  let act = null;
  const element = map.getTargetElement();
  const pick = (pixel) => {
    if (!act) return;
    const found = [];
    for (const { id, layer: of } of map.get("shown")) {
      const there = map.getFeaturesAtPixel(pixel, { layerFilter: (layer) => layer === of });
      for (const feature of there) found.push({ feature, key: `${id} ${feature.getId() ?? feature.ol_uid}` });
    }
    const polygons = found.filter(({ feature }) => feature.getGeometry?.()?.getType().endsWith("Polygon"));
    const area = ({ feature }) => feature.getGeometry().getArea();
    polygons.sort((one, other) => area(one) - area(other));
    if (polygons.length) act(polygons[0]);
  };
  map.on("singleclick", ({ pixel }) => pick(pixel));
  element.addEventListener("keydown", ({ key, target }) => {
    if (key === "Enter" && target === element) pick(map.getSize().map((each) => each / 2));
  });
  return {
    start: (acts) => {
      act = acts;
      element.classList.add("aims");
      element.focus();
    },
    stop: () => {
      act = null;
      element.classList.remove("aims");
    },
  };
}
