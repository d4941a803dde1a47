// Features of the map's collections that are picked for an order by a click, several into one.

/** Return whether the map picks: `start(act)` has each click call `act` with the smallest polygon there, `stop()` ends it. */
export function picking(map) {
  let act = null;
  map.on("singleclick", ({ pixel }) => {
    if (!act) return;
    const layers = map.get("shown").map(({ layer }) => layer);
    const found = map
      .getFeaturesAtPixel(pixel, { layerFilter: (layer) => layers.includes(layer) })
      .filter((each) => each.getGeometry?.()?.getType().endsWith("Polygon"));
    found.sort((one, other) => one.getGeometry().getArea() - other.getGeometry().getArea());
    if (found.length) act(found[0]);
  });
  return {
    start: (acts) => {
      act = acts;
    },
    stop: () => {
      act = null;
    },
  };
}
