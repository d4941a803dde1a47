// Features of the map's collections that are picked for an order by a click, several into one.

/** Return whether the map picks: `start(act)` has each click call `act` with the smallest polygon there and a key that no other has, `stop()` ends it. */
export function picking(map) {
  let act = null;
  map.on("singleclick", ({ pixel }) => {
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
