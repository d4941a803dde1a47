"""Write the dashboards of figures.py as Grafana's JSON, and the table in docs/dashboards.md: `make dashboards`."""

# ruff: noqa: FBT003 - the methods of the SDK

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, geomap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard as Builder
from grafana_foundation_sdk.builders.dashboard import QueryVariable, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import BigValueColorMode, FrameGeometrySourceMode, VizOrientation
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.figures import BOARDS, Dashboard, Figure, Query, Variable, figures

DASHBOARDS = Path("deploy/grafana/dashboards")
PAGE = Path("docs/dashboards.md")
_TABLE = "figure | dashboard | panel | query\n---|---|---|---\n"
_HEIGHT = {"map": 14, "table": 10}
_SOURCES = {"postgres": "grafana-postgresql-datasource", "prometheus": "prometheus"}
_COLOURS = {
    "not started": "#9e9e9e",
    "received, queued, running": "#1f78c1",
    "success": "#37872d",
    "failed": "#c4162a",
}
"""Of the states of units on maps."""
_MARKERS = {"color": {"field": "state", "fixed": "gray"}, "opacity": 0.8, "size": {"fixed": 4}}
_COUNTRIES = "public/maps/countries.geojson"
"""The base layer of maps: a file that Grafana itself has and serves."""


class SqlQuery(variants.Dataquery):
    """A query of PostgreSQL, which the SDK has no class of."""

    def __init__(self, text: str, *, series: bool) -> None:
        self._members = {
            "refId": "A",
            "datasource": {"type": _SOURCES["postgres"], "uid": "postgres"},
            "editorMode": "code",
            "format": "time_series" if series else "table",
            "rawQuery": True,
            "rawSql": text,
        }

    def to_json(self) -> dict[str, object]:
        """Return the members of the query as Grafana stores them."""
        return dict(self._members)


class _Built(builder.Builder[variants.Dataquery]):
    def __init__(self, query: variants.Dataquery) -> None:
        self._query = query

    def build(self) -> variants.Dataquery:
        return self._query


def dashboards() -> Iterator[tuple[str, str]]:
    """Yield the name of each file with its JSON."""
    for board in BOARDS:
        made = JSONEncoder(sort_keys=True, indent=2).encode(_dashboard(board).build())
        yield f"{board.id}.json", f"{made}\n"


def _dashboard(board: Dashboard) -> Builder:
    made = (
        Builder(board.title)
        .uid(f"landcast-{board.id}")
        .tags(["landcast"])
        .refresh("1m")
        .time(board.since, "now")
        .timezone("utc")
        .readonly()
    )
    for variable in board.variables:
        made = made.with_variable(_variable(variable, board))
    for figure in board.figures:
        made = made.with_panel(_panel(figure, board))
    return made


def _variable(variable: Variable, board: Dashboard) -> QueryVariable:
    return (
        QueryVariable(variable.name)
        .label(variable.label)
        .query(variable.query)
        .datasource(_source(board))
        .multi(True)
        .include_all(True)
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _panel(figure: Figure, board: Dashboard) -> Any:
    panel: Any = _VIEWS[figure.view]()
    panel = (
        panel.title(figure.title)
        .description(f"{figure.asked[0].upper()}{figure.asked[1:]}.")
        .datasource(_source(board))
        .span(figure.width)
        .height(_HEIGHT.get(figure.view, 7))
        .unit(figure.unit)
    )
    if figure.bounds:
        panel = panel.thresholds(_bounds(figure.bounds))
    for number, query in enumerate(figure.queries):
        panel = panel.with_target(_target(query, figure, board, chr(ord("A") + number)))
    return panel


def _source(board: Dashboard) -> Any:
    return models.DataSourceRef(type_val=_SOURCES[board.source], uid=board.source)


def _target(query: Query, figure: Figure, board: Dashboard, ref: str) -> Any:
    if board.source == "postgres":
        return _Built(SqlQuery(query.text, series=figure.view == "series"))
    made = PrometheusQuery().expr(query.text).legend_format(query.legend).ref_id(ref).datasource(_source(board))
    return made.instant().format(PromQueryFormat.TIME_SERIES) if figure.view == "stat" else made.range()


def _bounds(bounds: tuple[float, float]) -> ThresholdsConfig:
    steps = [
        models.Threshold(value=value, color=color)
        for value, color in ((None, "green"), (bounds[0], "orange"), (bounds[1], "red"))
    ]
    return ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _map() -> geomap.Panel:
    """Make a map of points in the colour of their state."""
    place = common.FrameGeometrySource().mode(FrameGeometrySourceMode.COORDS)
    points = (
        common.MapLayerOptions()
        .type("markers")
        .name("states")
        .location(place.latitude("latitude").longitude("longitude"))
        .config(
            {
                "showLegend": True,
                "style": {"color": {"field": "state", "fixed": "gray"}, "opacity": 0.8, "size": {"fixed": 4}},
            }
        )
        .tooltip(True)
    )
    base = common.MapLayerOptions().type("geojson").name("countries").config({"src": _COUNTRIES})
    view = geomap.MapViewConfig().id("fit").all_layers(False).layer("states").padding(5)
    return (
        geomap.Panel()
        .basemap(base)
        .layers([points])
        .view(view)
        .controls(geomap.ControlsOptions().show_zoom(True).mouse_wheel_zoom(True))
        .mappings([_colours()])
        .override_by_name("state", [models.DynamicConfigValue("mappings", [_colours()])])
    )


def _colours() -> models.ValueMap:
    results = {
        state: models.ValueMappingResult(text=state, color=colour, index=number)
        for number, (state, colour) in enumerate(_COLOURS.items())
    }
    return models.ValueMap(options=results)


def _bars() -> bargauge.Panel:
    return bargauge.Panel().reduce_options(_every_row()).orientation(VizOrientation.HORIZONTAL)


def _every_row() -> Any:
    return common.ReduceDataOptions().values(True).calcs([])


_VIEWS = {
    "stat": lambda: stat.Panel().color_mode(BigValueColorMode.VALUE),
    "series": timeseries.Panel,
    "bars": _bars,
    "table": table.Panel,
    "map": _map,
    "states": statetimeline.Panel,
}


def page_of(text: str) -> str:
    """Return the page with its table made anew."""
    return text.partition(_TABLE)[0] + _TABLE + "".join(_rows())


def _rows() -> Iterator[str]:
    for board, figure in figures():
        queries = "<br>".join(f"`{' '.join(query.text.split())}`" for query in figure.queries).replace("|", "\\|")
        yield f"{figure.asked} | {board.title} | {figure.title} | {queries}\n"


def write(made: Sequence[tuple[str, str]]) -> None:
    """Write the files, remove others, and update the page."""
    DASHBOARDS.mkdir(exist_ok=True)
    for path in DASHBOARDS.glob("*.json"):
        path.unlink()
    for name, text in made:
        (DASHBOARDS / name).write_text(text)
    PAGE.write_text(page_of(PAGE.read_text()))


if __name__ == "__main__":
    write(list(dashboards()))
