// The base map: land, borders and names of countries.
import TopoJSON from "ol/format/TopoJSON.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import Fill from "ol/style/Fill.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";
import Text from "ol/style/Text.js";

export function baseLayer(url) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const probe = document.createElement("i");
  const resolved = (name) => {
    probe.style.color = colour(name);
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const land = new Style({
    fill: new Fill({ color: resolved("--land") }),
    stroke: new Stroke({ color: resolved("--border"), width: 1 }),
  });
  const name = new Style({
    text: new Text({
      font: "600 12px system-ui, sans-serif",
      overflow: false,
      fill: new Fill({ color: resolved("--ink") }),
      stroke: new Stroke({ color: resolved("--land"), width: 3 }),
    }),
  });
  return new VectorLayer({
    source: new VectorSource({ url, format: new TopoJSON(), attributions: "Natural Earth" }),
    declutter: true,
    style: (feature, resolution) => {
      if (resolution < 300) return land;
      name.getText().setText(feature.get("name"));
      return [land, name];
    },
  });
}
