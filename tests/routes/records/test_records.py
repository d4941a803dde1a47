"""OGC API Records: a record for each product and named collection, what finds it, who sees it, and DCAT-AP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator, validate
from rdflib import DCAT, DCTERMS, FOAF, RDF, XSD, Graph, Literal, Namespace, URIRef
from starlette.testclient import TestClient

from server.check import of_configuration
from tests.auth.issuers import FakeIssuer
from tests.conftest import URL, application
from tests.routes.catalogued import BOXES, catalogued, get, ids

ITEMS = "/collections/records/items"
OGC = "http://www.opengis.net/def/rel/ogc/1.0"
EVERY = ["cover-18", "cover-21", "forest", "wet/lakes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[str, Any]:
    return catalogued(folder)


@pytest.fixture(scope="module")
def client(ours: dict[str, Any], folder: Path) -> Iterator[TestClient]:
    app = application(ours, state={"dir": folder / "state"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


def rels(record: dict[str, Any]) -> set[str]:
    return {each["rel"].rpartition("/")[2] for each in record["links"]}


def test_the_configuration_is_valid(ours: dict[str, Any]) -> None:
    assert of_configuration(ours, None) == []


def test_a_product_has_a_record_with_what_is_known_of_it(client: TestClient) -> None:
    record = get(client, f"{ITEMS}/cover-21")
    west, south, east, north = BOXES["north"]
    assert record["type"] == "Feature"
    assert record["id"] == "cover-21"
    assert record["time"] == {"interval": ["2021-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]}
    ring = record["geometry"]["coordinates"][0]
    assert sorted(map(tuple, ring[:4])) == [(west, south), (west, north), (east, south), (east, north)]
    formats = record["properties"].pop("formats")
    assert {"name": "GeoTIFF", "mediaType": "image/tiff; application=geotiff"} in formats
    assert {
        "name": "Cloud-Optimized GeoTIFF",
        "mediaType": "image/tiff; application=geotiff; profile=cloud-optimized",
    } in formats
    package = {"name": "ZIP with the data and its metadata (ISO 19139, STAC)", "mediaType": "application/zip"}
    assert formats[-1] == package
    assert record["properties"] == {
        "type": "dataset",
        "title": "Land cover 2021",
        "description": "Classes of  the ground, from Sentinel-2.",
        "keywords": ["cover 2021", "europe"],
        "language": {"code": "en-GB"},
        "externalIds": [{"scheme": "product", "value": "cover-21"}, {"scheme": "collection", "value": "cover-2021"}],
        "contacts": [
            {
                "name": "Ms Novak",
                "organization": "The Survey",
                "links": [{"rel": "about", "type": "text/html", "href": "https://survey.example"}],
                "emails": [{"value": "novak@survey.example"}],
            }
        ],
        "license": "other",
        "themes": [
            {
                "concepts": [
                    {"id": "lc", "title": "Land cover", "url": "http://inspire.ec.europa.eu/theme/lc"},
                ],
                "scheme": "http://inspire.ec.europa.eu/theme",
            }
        ],
        "rights": "Contains <data> of the Survey",
    }
    assert rels(record) == {
        *("self", "alternate", "collection", "describedby", "related", "license", "enclosure", "preview"),
        *("coverage", "map", "legend", "tilesets-map", "execute"),
    }
    hrefs = {each["rel"]: each["href"] for each in record["links"]}
    assert hrefs["license"] == "https://survey.example/licence"
    assert hrefs["enclosure"] == f"{URL}/collections/cover-2021/files/cover-2021.tif"
    assert hrefs[f"{OGC}/execute"] == f"{URL}/processes/extract-product/execution"


def test_a_named_collection_has_a_record(client: TestClient) -> None:
    record = get(client, f"{ITEMS}/wet%2Flakes")
    assert (record["properties"]["title"], record["time"]) == ("Lakes", None)
    assert {"name": "GeoJSON", "mediaType": "application/geo+json"} in record["properties"]["formats"]
    assert "themes" not in record["properties"]
    assert rels(record) >= {"items", "tilesets-vector"}
    assert "execute" not in rels(record)
    assert {each["href"] for each in record["links"] if each["rel"] == "license"} == {
        "https://creativecommons.example/by/4.0"
    }


def test_every_link_of_ours_leads_somewhere(client: TestClient) -> None:
    page = get(client, f"{ITEMS}?ids=cover-21,wet/lakes")
    some = [each for record in page["features"] for each in record["links"] if "lakes/items?" not in each["href"]]
    links = some + page["links"]
    for href in {each["href"] for each in links if each["href"].startswith(URL) and "execution" not in each["href"]}:
        answer = client.get(href.removeprefix(URL))
        assert (answer.status_code, href) == (200, href)
    assert get(client, f"{ITEMS}/wet/lakes")["id"] == "wet/lakes"


SEARCHES: list[tuple[str, list[str]]] = [
    ("", EVERY),
    ("?q=SENTINEL-2", ["cover-21"]),
    ("?q=classes of the ground", ["cover-21"]),
    ("?q=ground classes", []),
    ("?q=southern  FOREST,lakes", ["forest", "wet/lakes"]),
    ("?q=europe", EVERY),
    ("?bbox=18.25,50.68,18.26,50.69", ["cover-18", "cover-21"]),
    ("?bbox=17,41.7,17,41.7", ["forest"]),
    ("?bbox=170,-10,-170,10", []),
    ("?bbox=16,40,5,23,54,9", EVERY),
    ("?datetime=2018-06-01", ["cover-18", "wet/lakes"]),
    ("?datetime=2019-01-01/..", ["cover-21", "forest", "wet/lakes"]),
    ("?type=dataset", EVERY),
    ("?type=service", []),
    ("?type=service,dataset", EVERY),
    ("?ids=wet/lakes,cover-18", ["cover-18", "wet/lakes"]),
    ("?externalIds=forest", ["forest"]),
    ("?externalId=collection:cover-2018", ["cover-18"]),
    ("?externalIds=product:cover-2018", []),
    ("?externalIds=product:", ["cover-18", "cover-21", "forest"]),
    ("?externalIds=nothing", []),
    ("?limit=2", EVERY[:2]),
    ("?limit=2&offset=3", ["wet/lakes"]),
    ("?q=europe&datetime=2021-05-05&bbox=0,0,180,45", ["forest"]),
]


def test_records_are_found(client: TestClient) -> None:
    assert [(query, ids(get(client, f"{ITEMS}{query}"))) for query, _ in SEARCHES] == SEARCHES


def test_a_page_names_its_numbers_and_the_next_one(client: TestClient) -> None:
    page = get(client, f"{ITEMS}?limit=3&q=europe")
    assert (page["numberMatched"], page["numberReturned"]) == (4, 3)
    (following,) = [each["href"] for each in page["links"] if each["rel"] == "next"]
    assert ids(get(client, following)) == ["wet/lakes"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "bogus=1",
            "unknown parameter; allowed: bbox, datetime, externalId, externalIds, f, ids, limit, offset, q, type",
        ),
        ("limit=0", "allowed: whole numbers from 1"),
        ("offset=-1", "allowed: whole numbers from 0"),
        ("bbox=1,2,3", "four numbers"),
        ("bbox=1,3,2,2", "four numbers"),
        ("bbox=nan,1,2,3", "four numbers"),
        ("datetime=yesterday", "RFC 3339"),
        ("q=", "1 to 32 terms"),
        ("q=a,,b", "1 to 32 terms"),
        ("q=" + ",".join("a" * 33), "1 to 32 terms"),
        ("externalIds=a&externalId=b", "allowed: externalIds or externalId"),
        ("q=a&q=b", "allowed once"),
        ("f=xml", "allowed: json, html, jsonld"),
        ("sortby=title", "unknown parameter"),
    ],
)
def test_an_invalid_search_is_400(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"{ITEMS}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert said in answer.json()["detail"]


def test_what_is_not_there_says_so(client: TestClient) -> None:
    for path in (f"{ITEMS}/nothing", "/collections/records/queryables", "/collections/records/coverage"):
        assert client.get(path).status_code == 404
    for posted in (client.post(ITEMS, json={"op": "isNull", "args": [{"property": "title"}]}), client.post(ITEMS)):
        assert (posted.status_code, "is asked by GET" in posted.json()["detail"]) == (405, True)


def test_the_collection_is_listed_and_described(client: TestClient) -> None:
    listed = get(client, "/collections")["collections"]
    (found,) = [each for each in listed if each["id"] == "records"]
    assert (found["type"], found["itemType"], found["title"]) == ("Collection", "record", "Catalogue")
    assert found == get(client, "/collections/records")
    for href in [each["href"] for each in found["links"]]:
        assert client.get(href.removeprefix(URL)).status_code == 200, href
    assert {"title", "externalIds"} <= get(client, "/collections/records/schema")["properties"].keys()
    claimed = {each.rpartition("/")[2] for each in get(client, "/conformance")["conformsTo"] if "-records-" in each}
    assert claimed == {"record-core", "record-core-query-parameters", "json", "html", "oas30"}


def test_records_have_pages(client: TestClient) -> None:
    page = client.get(ITEMS, headers={"accept": "text/html"}).text
    assert "Land cover 2021" in page
    assert f'href="{URL}/collections/records/items/wet%2Flakes?f=html"' in page
    page = client.get(f"{ITEMS}/cover-21?f=html").text
    assert f'href="{URL}/collections/cover-2021/files/cover-2021.tif"' in page
    assert "Contains &lt;data&gt; of the Survey" in page


def test_openapi_has_the_search(client: TestClient) -> None:
    document = get(client, "/openapi")
    validate(document, cls=OpenAPIV30SpecValidator)
    operations = {
        path: set(each) for path, each in document["paths"].items() if path.startswith("/collections/records")
    }
    assert operations == {
        path: {"get"} for path in ("/collections/records", "/collections/records/schema", ITEMS, f"{ITEMS}/{{item_id}}")
    }
    content = document["paths"][ITEMS]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/geo+json", "text/html", "application/ld+json"}


VCARD = Namespace("http://www.w3.org/2006/vcard/ns#")


pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
"""rdflib's own reader of JSON-LD."""


def graph_of(client: TestClient, path: str, **headers: str) -> Graph:
    answer = client.get(path, headers=headers)
    assert answer.headers["content-type"] == "application/ld+json"
    assert answer.headers["link"] == '<http://data.europa.eu/r5r/>; rel="profile"'
    return Graph().parse(data=answer.text, format="json-ld")


def test_the_catalogue_is_dcat_ap(client: TestClient) -> None:
    """The mandatory properties of DCAT-AP 3.0: of Catalogue, Dataset, Distribution, Agent."""
    graph = graph_of(client, ITEMS, accept="application/ld+json")
    catalogue = URIRef(f"{URL}/collections/records")
    assert list(graph.subjects(RDF.type, DCAT.Catalog)) == [catalogue]
    assert graph.value(catalogue, DCTERMS.title) == Literal("Catalogue", lang="en-GB")
    assert graph.value(catalogue, DCTERMS.description) == Literal("About Catalogue.", lang="en-GB")
    publisher = graph.value(catalogue, DCTERMS.publisher)
    assert (publisher, RDF.type, FOAF.Agent) in graph
    assert graph.value(publisher, FOAF.name) == Literal("The Survey")
    datasets = {URIRef(f"{URL}{ITEMS}/{name.replace('/', '%2F')}") for name in EVERY}
    assert set(graph.objects(catalogue, DCAT.dataset)) == datasets == set(graph.subjects(RDF.type, DCAT.Dataset))
    for dataset in datasets:
        assert graph.value(dataset, DCTERMS.title) is not None
        assert graph.value(dataset, DCTERMS.description) is not None
        distributions = list(graph.objects(dataset, DCAT.distribution))
        assert distributions != []
        for each in distributions:
            assert isinstance(graph.value(each, DCAT.accessURL), URIRef)


def test_a_record_is_a_dataset_of_dcat_ap(client: TestClient) -> None:
    graph = graph_of(client, f"{ITEMS}/cover-21?f=jsonld")
    dataset = URIRef(f"{URL}{ITEMS}/cover-21")
    assert graph.value(dataset, DCTERMS.title) == Literal("Land cover 2021", lang="en-GB")
    assert graph.value(dataset, DCTERMS.identifier) == Literal("cover-21")
    assert set(graph.objects(dataset, DCAT.keyword)) == {
        Literal("cover 2021", lang="en-GB"),
        Literal("europe", lang="en-GB"),
    }
    period, contact = graph.value(dataset, DCTERMS.temporal), graph.value(dataset, DCAT.contactPoint)
    assert graph.value(period, DCAT.startDate) == Literal("2021-01-01", datatype=XSD.date)
    assert graph.value(period, DCAT.endDate) == Literal("2021-12-31", datatype=XSD.date)
    assert graph.value(contact, VCARD.hasEmail) == URIRef("mailto:novak@survey.example")
    place = graph.value(graph.value(dataset, DCTERMS.spatial), DCAT.bbox)
    assert str(place).startswith("POLYGON ((18.2 50.65")
    file = URIRef(f"{URL}/collections/cover-2021/files/cover-2021.tif")
    (distribution,) = graph.subjects(DCAT.downloadURL, file)
    assert graph.value(distribution, DCAT.accessURL) == file
    assert graph.value(distribution, DCAT.mediaType) == URIRef(
        "https://www.iana.org/assignments/media-types/image/tiff"
    )
    assert graph.value(distribution, DCTERMS.license) == URIRef("https://survey.example/licence")


ROLE = {"role": "user"}
GRANTS: list[tuple[str, dict[str, Any], list[str] | int, set[str]]] = [
    ("nothing", {}, 404, set()),
    ("only the catalogue", {"a": {"who": ROLE, "may": "read-items", "collections": "records"}}, [], set()),
    (
        "only to know of it",
        {"a": {"who": ROLE, "may": "discover", "collections": ["records", "wet/lakes"]}},
        403,
        set(),
    ),
    (
        "a product to know of",
        {
            "a": {"who": ROLE, "may": "read-items", "collections": "records"},
            "b": {"who": ROLE, "may": "discover", "collections": "south"},
        },
        ["forest"],
        set(),
    ),
    (
        "a map and the file, the latter in a part",
        {
            "a": {"who": ROLE, "may": "read-items", "collections": "records"},
            "b": {"who": ROLE, "may": "read-map", "collections": "south"},
            "c": {
                "who": ROLE,
                "may": "download",
                "collections": "south",
                "area": {"polygon": "POLYGON ((17 41, 18 41, 18 42, 17 41))"},
            },
        },
        ["forest"],
        {"map", "legend", "preview"},
    ),
    (
        "the file, and to order",
        {
            "a": {"who": ROLE, "may": "read-items", "collections": "records"},
            "b": {"who": ROLE, "may": "download", "collections": "south"},
            "c": {"who": ROLE, "may": "execute", "processes": "extract-product"},
        },
        ["forest"],
        {"enclosure", "execute"},
    ),
    (
        "a part of the catalogue",
        {"a": {"who": ROLE, "may": "read-items", "collections": "records", "rows": "type = 'dataset'"}},
        403,
        set(),
    ),
]


@pytest.mark.parametrize(("grants", "found", "links"), [each[1:] for each in GRANTS], ids=[each[0] for each in GRANTS])
def test_a_caller_sees_records_and_links_by_their_rights(
    ours: dict[str, Any],
    issuer: FakeIssuer,
    *,
    tmp_path: Path,
    grants: dict[str, Any],
    found: list[str] | int,
    links: set[str],
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(
        yaml.safe_dump({"grants": grants or {"a": {"who": "public", "may": "discover", "collections": "wet/lakes"}}})
    )
    app = application(ours, state={"dir": tmp_path}, auth={"open": False, "issuer": issuer.url, "policy": policy})
    token = issuer.token(sub="r", realm_access={"roles": ["user"]}, resource_access=None, scope="openid")
    headers = {"authorization": f"Bearer {token}"}
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as client:
        assert client.get(ITEMS).status_code == 404
        answer = client.get(ITEMS, headers=headers)
        if isinstance(found, int):
            assert answer.status_code == found
            assert client.get(f"{ITEMS}/forest", headers=headers).status_code == found
            return
        assert ids(answer.json()) == found
        assert ids(get(client, f"{ITEMS}?q=europe,cover,forest", **headers)) == found
        hidden = client.get(f"{ITEMS}/cover-21", headers=headers)
        unknown = client.get(f"{ITEMS}/cover-99", headers=headers)
        assert hidden.status_code == unknown.status_code == 404
        assert "Cover 2021" not in client.get(f"{ITEMS}?f=jsonld", headers=headers).text
        always = {"self", "alternate", "collection", "describedby", "related", "license"}
        for name in found:
            assert rels(get(client, f"{ITEMS}/{name}", **headers)) == always | links


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["nothing"], "'nothing' is no other collection"),
        (["records"], "'records' is no other collection"),
        (["extract-product"], "'extract-product' is no other collection"),
        ([], "is empty"),
        ("lakes", "must be a list"),
    ],
)
def test_mistakes_of_the_configuration_are_named(ours: dict[str, Any], named: Any, said: str) -> None:
    records = {**ours["resources"]["records"]}
    records["providers"] = [{**records["providers"][0], "data": {"collections": named}}]
    document = {**ours, "resources": {**ours["resources"], "records": records}}
    assert [each for each in of_configuration(document, None) if said in each] != []


def test_a_broken_raster_leaves_its_record_without_data(ours: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    broken = {**ours["resources"]["south"]}
    broken["providers"] = [{**broken["providers"][0], "data": str(tmp_path / "broken.tif")}]
    document = {**ours, "resources": {**ours["resources"], "south": broken}}
    with TestClient(
        application(document, state={"dir": tmp_path}), base_url="http://inside.invalid", headers={"accept": "*/*"}
    ) as client:
        assert ids(get(client, ITEMS)) == EVERY
        assert rels(get(client, f"{ITEMS}/forest")) & {"coverage", "map", "enclosure"} == set()
