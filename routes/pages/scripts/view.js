// The place of the map in the page's address: #zoom/latitude/longitude, so that it can be shared.
import { fromLonLat, toLonLat } from "ol/proj.js";

/** Go where the address says, and keep it true; return whether it said so. */
export function keepView(map) {
  const [zoom, latitude, longitude] = location.hash.slice(1).split("/").map(Number);
  const goes = [zoom, latitude, longitude].every(Number.isFinite) && location.hash.split("/").length === 3;
  const view = map.getView();
  if (goes) {
    view.setZoom(zoom);
    view.setCenter(fromLonLat([longitude, latitude]));
  }
  let first = true;
  map.on("moveend", () => {
    if (first && !goes) {
      first = false;
      return;
    }
    const [x, y] = toLonLat(view.getCenter());
    history.replaceState(null, "", `#${view.getZoom().toFixed(2)}/${y.toFixed(5)}/${x.toFixed(5)}`);
  });
  return goes;
}
