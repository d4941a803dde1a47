"""Results have the requested form (18-062r2, table 11); files are served by range and by expiring links."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

import pytest

from auth.identity import ANONYMOUS
from orchestration.job import Output

if TYPE_CHECKING:
    from email.message import Message

    from httpx2 import Response

    from tests.routes.conftest import OrderSite

URL = "https://maps.example.org/land"
NOT_READY = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/result-not-ready"
CONTENT = bytes(range(256)) * 400
WORD = Output("stringOutput", "Größe <&>")
BOX = Output("boundingBoxOutput", {"bbox": [1, 2, 3, 4]})
OBJECT = Output("complexObjectOutput", {"property1": "a", "property5": True})


def done(site: "OrderSite", *outputs: Output, **members: Any) -> str:
    job_id = site.order(**members)
    site.serve(job_id, *outputs)
    return job_id


def ordered_file(site: "OrderSite", content: bytes = CONTENT, **members: Any) -> str:
    job_id = site.order(**members)
    site.serve(job_id, site.file(job_id, content))
    return job_id


def fetch(site: "OrderSite", job_id: str, query: str = "", **headers: str) -> "Response":
    return site.client.get(f"/jobs/{job_id}/results{query}", headers=headers)


def by(mode: str, *names: str) -> dict[str, Any]:
    return {name: {"transmissionMode": mode} for name in names}


def link_of(site: "OrderSite", job_id: str) -> str:
    href: str = fetch(site, job_id, "?f=json").json()["result"]["href"]
    assert href.startswith(f"{URL}/results/{job_id}/Raster.zip?exp=")
    return href.removeprefix(URL)


def parts_of(answer: "Response") -> list["Message[str, str]"]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    return list(message_from_bytes(head + answer.content, policy=HTTP).iter_parts())


def test_one_value_is_the_value_itself(site: "OrderSite") -> None:
    answer = fetch(site, done(site, WORD))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == WORD.value


def test_one_file_is_the_file_itself_by_range(site: "OrderSite") -> None:
    job_id = ordered_file(site)
    whole = fetch(site, job_id)
    first = fetch(site, job_id, Range="bytes=0-999")
    rest = fetch(site, job_id, Range="bytes=1000-", **{"If-Range": first.headers["etag"]})
    assert (whole.status_code, first.status_code, rest.status_code) == (200, 206, 206)
    assert whole.content == CONTENT == first.content + rest.content
    assert whole.headers["content-type"] == "application/zip"
    assert whole.headers["content-disposition"] == 'attachment; filename="Raster.zip"'
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"


def test_head_has_the_length(site: "OrderSite") -> None:
    answer = site.client.head(f"/jobs/{ordered_file(site)}/results")
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(CONTENT)))


def test_one_value_by_reference_is_204_with_a_working_link(site: "OrderSite") -> None:
    answer = fetch(site, done(site, WORD, outputs=by("reference", "stringOutput")))
    assert (answer.status_code, answer.content) == (204, b"")
    href = answer.headers["link"].partition(">")[0].removeprefix(f"<{URL}")
    assert site.client.get(href).json() == WORD.value


def test_several_values_by_reference_are_204_with_one_link_each(site: "OrderSite") -> None:
    job_id = done(site, WORD, BOX, outputs=by("reference", "stringOutput", "boundingBoxOutput"))
    answer = fetch(site, job_id)
    assert answer.status_code == 204
    links = answer.headers.get_list("link")
    assert [f'title="{output.id}"' in link for output, link in zip((WORD, BOX), links, strict=True)] == [True, True]


def test_several_values_are_parts_of_one_answer(site: "OrderSite") -> None:
    job_id = site.order()
    site.serve(job_id, WORD, site.file(job_id, CONTENT), OBJECT)
    answer = fetch(site, job_id)
    parts = parts_of(answer)
    assert answer.headers["content-type"].startswith("multipart/related; boundary=")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert [part["Content-ID"] for part in parts] == ["stringOutput", "result", "complexObjectOutput"]
    assert [part.get_content_type() for part in parts] == ["application/json", "application/zip", "application/json"]
    assert parts[1].get_payload(decode=True) == CONTENT


def test_mixed_modes_are_parts_with_content_location(site: "OrderSite") -> None:
    outputs = {**by("value", "boundingBoxOutput"), **by("reference", "stringOutput")}
    answer = fetch(site, done(site, WORD, BOX, outputs=outputs))
    box, word = parts_of(answer)
    assert (box["Content-ID"], word["Content-ID"]) == ("boundingBoxOutput", "stringOutput")
    assert box["Content-Location"] is None
    assert word.get_payload(decode=True) == b""
    assert site.client.get(word["Content-Location"].removeprefix(URL)).json() == WORD.value


def test_only_requested_outputs_are_answered(site: "OrderSite") -> None:
    answer = fetch(site, done(site, WORD, BOX, outputs={"boundingBoxOutput": {}}))
    assert answer.json() == BOX.value


def test_no_output_at_all_is_204(site: "OrderSite") -> None:
    assert fetch(site, done(site)).status_code == 204
    assert fetch(site, done(site, response="document")).json() == {}


def test_a_document_holds_values_objects_and_references(site: "OrderSite") -> None:
    outputs = {"stringOutput": {}, "boundingBoxOutput": {}, "complexObjectOutput": {}, **by("reference", "mixedOutput")}
    job_id = done(site, WORD, BOX, OBJECT, Output("mixedOutput", 5), response="document", outputs=outputs)
    answer = fetch(site, job_id)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "stringOutput": WORD.value,
        "boundingBoxOutput": BOX.value,
        "complexObjectOutput": {"value": OBJECT.value, "mediaType": "application/json"},
        "mixedOutput": {
            "href": f"{URL}/jobs/{job_id}/results/mixedOutput",
            "type": "application/json",
            "title": "mixedOutput",
        },
    }


def test_a_small_file_is_in_the_document_and_a_large_one_linked(site: "OrderSite") -> None:
    small = fetch(site, ordered_file(site, response="document")).json()["result"]
    large = fetch(site, ordered_file(site, bytes(1_000_001), response="document")).json()["result"]
    assert base64.b64decode(small["value"]) == CONTENT
    assert (small["mediaType"], small["encoding"]) == ("application/zip", "base64")
    assert (large["length"], large["title"]) == (1_000_001, "Raster.zip")
    assert site.client.get(large["href"].removeprefix(URL)).content == bytes(1_000_001)


def test_unfinished_results_are_404_of_the_standards_type(site: "OrderSite") -> None:
    answer = fetch(site, site.order())
    assert (answer.status_code, answer.json()["type"]) == (404, NOT_READY)
    assert "retry-after" in answer.headers


def test_a_failed_job_answers_its_reason(site: "OrderSite") -> None:
    job_id = site.order()
    site.fail(job_id, "there is no space left")
    for query in ("", "?f=json", "/result"):
        answer = fetch(site, job_id, query)
        assert (answer.status_code, answer.json()["detail"]) == (500, "there is no space left")


@pytest.mark.parametrize(
    ("fault", "status"),
    [("ReferenceRefused", 400), ("WorkFailed", 400), ("BrokenSource", 503), ("NothingInside", 400), ("Unheard", 500)],
)
def test_the_status_of_a_failed_job_matches_its_reason(site: "OrderSite", fault: str, status: int) -> None:
    job_id = site.order()
    site.fail(job_id, "not fetched", fault)
    answer = fetch(site, job_id)
    assert (answer.status_code, answer.json()["detail"], answer.json()["jobID"]) == (status, "not fetched", job_id)
    assert answer.json()["type"].endswith("invalid-parameter-value") is (status == 400)


def test_expired_files_are_410_everywhere(site: "OrderSite") -> None:
    job_id = ordered_file(site)
    link = link_of(site, job_id)
    several = site.order()
    site.serve(several, WORD, site.file(several, CONTENT))
    document = ordered_file(site, response="document")
    for removed in (job_id, several, document):
        site.resources.results.remove(removed)
        assert [fetch(site, removed, query).status_code for query in ("", "?f=html", "?f=json")] == [410] * 3
    assert [site.client.get(path).status_code for path in (f"/jobs/{job_id}/results", link)] == [410, 410]
    site.resources.store.files_removed(job_id)
    assert [site.client.get(path).status_code for path in (f"/jobs/{job_id}/results", link)] == [410, 410]
    assert fetch(site, job_id, "?f=html").status_code == 410
    assert site.client.get(f"/jobs/{job_id}?f=html").status_code == 200


def test_a_signed_link_needs_no_identity_and_resumes(site: "OrderSite", monkeypatch: pytest.MonkeyPatch) -> None:
    link = link_of(site, ordered_file(site))
    monkeypatch.setattr("routes.middleware.authentication.LOCAL", ANONYMOUS)
    whole = site.client.get(link)
    rest = site.client.get(link, headers={"Range": "bytes=5000-"})
    assert (whole.status_code, rest.status_code) == (200, 206)
    assert (whole.content, rest.content) == (CONTENT, CONTENT[5000:])
    assert whole.headers["cache-control"] == "private"
    assert whole.headers["referrer-policy"] == "no-referrer"
    assert site.client.head(link).headers["content-length"] == str(len(CONTENT))
    assert site.client.get(link, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_a_changed_link_is_403(site: "OrderSite") -> None:
    """Attack: extend the life of a link, use it for another job or file, or remove its signature."""
    job_id, other = ordered_file(site), ordered_file(site)
    link = link_of(site, job_id)
    path, _, query = link.partition("?")
    exp, sig = (part.partition("=")[2] for part in query.split("&"))
    forged = [
        path,
        f"{path}?exp={exp}",
        f"{path}?sig={sig}",
        f"{path}?exp={int(exp) + 1}&sig={sig}",
        f"{path}?exp=&sig={sig}",
        f"{path}?exp={exp}.0&sig={sig}",
        f"{path}?exp=%00&sig=%ff",
        f"{path}?exp={exp}&sig={sig[:-1]}",
        f"{path}?exp={exp}&sig={sig.upper()}",
        link.replace(job_id, other),
        link.replace("Raster.zip", "Vector.zip"),
        link.replace("Raster.zip", "..%5Corders.sqlite"),
        link.replace(job_id, "00000000-0000-4000-8000-000000000000"),
    ]
    assert {query: site.client.get(query).status_code for query in forged} == dict.fromkeys(forged, 403)


@pytest.mark.parametrize("more", ["&exp=1", "&sig=1", "&x=1"])
def test_an_additional_parameter_is_400(site: "OrderSite", more: str) -> None:
    assert site.client.get(link_of(site, ordered_file(site)) + more).status_code == 400


def test_an_expired_link_is_410(site: "OrderSite") -> None:
    job_id = ordered_file(site)
    job = site.resources.store.get(job_id)
    assert job is not None
    file = job.manifest[0].file
    assert file is not None
    past = datetime.now(UTC) - timedelta(days=7, seconds=1)
    link = site.resources.results.link(job_id, file, owner="local", now=past)
    assert site.client.get(link.removeprefix(URL)).status_code == 410


def test_a_link_to_a_deleted_job_is_like_a_forged_one(site: "OrderSite") -> None:
    job_id = ordered_file(site)
    link = link_of(site, job_id)
    site.client.delete(f"/jobs/{job_id}")
    assert site.client.get(link).status_code == 403


def test_one_output_is_read_by_its_name(site: "OrderSite") -> None:
    job_id = done(site, WORD, BOX)
    assert site.client.get(f"/jobs/{job_id}/results/boundingBoxOutput").json() == BOX.value
    missing = site.client.get(f"/jobs/{job_id}/results/nothing")
    assert missing.status_code == 404
    assert "stringOutput, boundingBoxOutput" in missing.json()["detail"]


def test_the_page_lists_files_with_size_checksum_and_expiry(site: "OrderSite") -> None:
    job_id = ordered_file(site)
    for answer in (fetch(site, job_id, "?f=html"), fetch(site, job_id, Accept="text/html,*/*;q=0.8")):
        assert answer.headers["content-type"].startswith("text/html")
        assert f'href="{URL}/results/{job_id}/Raster.zip?exp=' in answer.text
        assert f"({len(CONTENT):,} bytes)" in answer.text
        assert hashlib.sha256(CONTENT).hexdigest() in answer.text
        assert f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}" in answer.text


def test_the_page_shows_values_escaped(site: "OrderSite") -> None:
    page = fetch(site, done(site, Output("stringOutput", "<script>alert(1)</script>")), "?f=html").text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("query", ["?f=zip", "?outputs=a", "?f=json&f=json"])
def test_a_wrong_parameter_is_400(site: "OrderSite", query: str) -> None:
    assert fetch(site, done(site, WORD), query).status_code == 400
