// Makes ../static/map.js, page.js and api.js with their source maps, map.css and base.json, and copies ../static/vendor. The output is committed; a test compares it.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { feature } from "topojson-client";
import { topology } from "topojson-server";

const folder = process.argv[2] ?? "../static";
const { metafile } = await build({
  entryPoints: ["map.js", "page.js", "api.js"],
  outdir: folder,
  bundle: true,
  minify: true,
  sourcemap: true,
  sourcesContent: false,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
});
await build({ entryPoints: ["map.css"], outdir: folder, bundle: true, minify: true });
mkdirSync(`${folder}/vendor`, { recursive: true });
for (const name of ["swagger-ui-bundle.js", "swagger-ui.css"]) copyFileSync(`node_modules/swagger-ui-dist/${name}`, `${folder}/vendor/${name}`);
writeFileSync(`${folder}/licenses.txt`, licences(Object.keys(metafile.inputs)));
writeFileSync(`${folder}/base.json`, JSON.stringify(baseMap()));

// The licences of the packages that are in the bundle, and of the data.
function licences(inputs) {
  const packages = new Set(inputs.flatMap((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? []));
  return [...packages, "swagger-ui-dist", "world-atlas"].sort().map(licence).join("\n\n");
}

function licence(name) {
  const folder = `node_modules/${name}`;
  const { version, repository } = JSON.parse(readFileSync(`${folder}/package.json`));
  const texts = readdirSync(folder).filter((each) => /^(licen[cs]e|notice)|bundle\.js\.LICENSE/i.test(each));
  const said = texts.map((each) => readFileSync(`${folder}/${each}`, "utf8").trim()).join("\n\n");
  return `${name} ${version}, ${repository?.url ?? repository}\n\n${said}`;
}

// Countries of Natural Earth (public domain), as world-atlas has them: in Europe and round it at 1:50 million, else 1:110 million.
function baseMap() {
  const [coarse, fine] = ["110m", "50m"].map(countries);
  const near = new Set(fine.filter(isNear).map((each) => each.id ?? each.properties.name));
  const all = [
    ...coarse.filter((each) => !near.has(each.id ?? each.properties.name)),
    ...fine.filter(isNear),
  ]
    .filter(({ properties }) => properties.name !== "Antarctica")
    .map(({ properties, geometry }) => ({
      type: "Feature",
      properties: { name: properties.name },
      geometry: { ...geometry, coordinates: mapRings(geometry, unwrapped) },
    }));
  return topology({ countries: { type: "FeatureCollection", features: all } }, 1e5);
}

function mapRings({ type, coordinates }, act) {
  return type === "Polygon" ? coordinates.map(act) : coordinates.map((polygon) => polygon.map(act));
}

// world-atlas joins what the antimeridian cut: a ring goes on beyond 180 degrees here, where it jumps there.
function unwrapped(ring) {
  let turns = 0;
  return ring.map(([x, y], index) => {
    const step = index ? x - ring[index - 1][0] : 0;
    if (Math.abs(step) > 180) turns -= 360 * Math.sign(step);
    return [x + turns, y];
  });
}

function countries(scale) {
  const read = JSON.parse(readFileSync(`node_modules/world-atlas/countries-${scale}.json`));
  return feature(read, read.objects.countries).features;
}

function isNear({ geometry, properties }) {
  if (["Russia", "Antarctica"].includes(properties.name)) return false;
  const points = geometry.coordinates.flat(geometry.type === "Polygon" ? 1 : 2);
  return points.some(([x, y]) => x > -32 && x < 50 && y > 27 && y < 72);
}
