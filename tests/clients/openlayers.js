// What the test of OpenLayers bundles: `drawn` returns the pixels of a raster tileset, `features` those of a vector tileset.
import MVT from "ol/format/MVT.js";
import TileLayer from "ol/layer/Tile.js";
import VectorTileLayer from "ol/layer/VectorTile.js";
import Map from "ol/Map.js";
import OGCMapTile from "ol/source/OGCMapTile.js";
import OGCVectorTile from "ol/source/OGCVectorTile.js";
import View from "ol/View.js";

window.drawn = async (url, center, resolution) => {
  const source = new OGCMapTile({ url, interpolate: false, crossOrigin: "anonymous" });
  await shown(new TileLayer({ source }), center, resolution);
  const canvas = document.querySelector("#client canvas");
  return [...canvas.getContext("2d").getImageData(0, 0, 256, 256).data];
};

window.features = async (url, center, resolution) => {
  const layer = new VectorTileLayer({ source: new OGCVectorTile({ url, format: new MVT() }) });
  const map = await shown(layer, center, resolution);
  const found = layer.getFeaturesInExtent(map.getView().calculateExtent([256, 256]));
  return found.map((each) => each.getProperties().name);
};

async function shown(layer, center, resolution) {
  const source = layer.getSource();
  await new Promise((done, failed) => {
    const look = () => {
      if (source.getState() === "ready") done();
      if (source.getState() === "error") failed(new Error(`the tileset cannot be read: ${source.error}`));
    };
    source.on("change", look);
    look();
  });
  document.body.innerHTML = '<div id="client" style="position: absolute; left: 0; top: 0; width: 256px; height: 256px"></div>';
  const view = new View({ center, resolution, constrainResolution: false, maxResolution: 1e6, minResolution: 0.01 });
  const map = new Map({ target: "client", layers: [layer], pixelRatio: 1, controls: [], interactions: [], view });
  await new Promise((done) => map.once("rendercomplete", done));
  return map;
}
