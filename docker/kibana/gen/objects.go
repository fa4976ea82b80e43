package main

import (
	"fmt"
	"slices"
	"strconv"
)

// The ids of the objects. They never change: an import replaces what has the same id.
const (
	viewHits   = "minecanary-hits"
	viewProbes = "minecanary-probes"
	viewPools  = "minecanary-pools"
	searchHits = "minecanary-latest-hits"
	overview   = "minecanary-mining-overview"
)

// m is a JSON object.
type m = map[string]any

// object is a saved object. The versions say which migrations Kibana has to run at the import; these are those of 8.8, the
// oldest whose form of every object here is the one that is written.
type object struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Core       string `json:"coreMigrationVersion"`
	Version    string `json:"typeMigrationVersion"`
	Managed    bool   `json:"managed"`
	Attributes m      `json:"attributes"`
	References []ref  `json:"references"`
}

type ref struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

const core = "8.8.0"

// objects gives everything that is imported; what is referred to comes first.
func objects() []object {
	return []object{
		view(viewHits, "Minecanary hits", "logs-minecanary.hit-*"),
		view(viewProbes, "Minecanary probes", "logs-minecanary.probe-*"),
		view(viewPools, "Minecanary pools", "logs-ti_minecanary.pool-*"),
		search(),
		dashboard(),
	}
}

func view(id, name, pattern string) object {
	return object{
		ID: id, Type: "index-pattern", Core: core, Version: "8.0.0", References: []ref{},
		Attributes: m{
			"title": pattern, "name": name, "timeFieldName": "@timestamp",
			"fields": "[]", "fieldAttrs": "{}", "fieldFormatMap": "{}", "runtimeFieldMap": "{}", "sourceFilters": "[]", "typeMeta": "{}",
		},
	}
}

var noQuery = m{"query": "", "language": "kuery"}

func search() object {
	const index = "kibanaSavedObjectMeta.searchSourceJSON.index"
	return object{
		ID: searchHits, Type: "search", Core: core, Version: "8.0.0",
		Attributes: m{
			"title": "Minecanary: latest hits", "description": "Every report, the newest first.",
			"columns": []string{
				"minecanary.status", "source.ip", "server.ip", "server.port", "minecanary.coin", "event.risk_score", "observer.name", "event.reason",
			},
			"sort": [][]string{{"@timestamp", "desc"}}, "grid": m{}, "hideChart": true, "isTextBasedQuery": false,
			"kibanaSavedObjectMeta": m{"searchSourceJSON": text(m{"query": noQuery, "filter": []any{}, "indexRefName": index})},
		},
		References: []ref{{viewHits, index, "index-pattern"}},
	}
}

// panels of the dashboard, from the top. The grid is 48 columns wide.
var panels = []panel{
	{0, 0, 32, 12, overTime("Hits over time by status", viewHits, "minecanary.status")},
	{32, 0, 16, 12, bars("Coins", viewHits, "minecanary.coin")},
	{0, 12, 24, 14, table("Top clients", viewHits,
		terms("Client", "source.ip", 20).of("ip"), count("Hits"), unique("Pools", "server.ip"), highest("Risk", "event.risk_score"), last("Last seen", "minecanary.last_seen"))},
	{24, 12, 24, 14, table("Top pools", viewHits,
		terms("Server", "server.ip", 20).of("ip"), terms("Port", "server.port", 3).of("number"), count("Hits"), unique("Clients", "source.ip"), last("Last seen", "minecanary.last_seen"))},
	{0, 26, 32, 12, overTime("Probes over time by verdict", viewProbes, "minecanary.verdict")},
	{32, 26, 16, 12, table("Probe outcomes", viewProbes,
		terms("Outcome", "event.outcome", 3), terms("Verdict", "minecanary.verdict", 6), count("Probes"), unique("Servers", "server.ip"))},
	{0, 38, 48, 10, table("Proven pools", viewPools,
		terms("Pool", "minecanary.endpoint", 50), terms("Coin", "minecanary.coin", 3), terms("Dialect", "minecanary.dialect", 3),
		count("Verified"), first("First confirmed", "minecanary.first_confirmed"), last("Holds until", "minecanary.expires"))},
	{0, 48, 48, 18, saved("Latest hits", searchHits)},
}

type panel struct {
	x, y, w, h int
	content    func(index string) (p m, refs []ref)
}

func dashboard() object {
	var list []m
	var refs []ref
	for i, p := range panels {
		index := strconv.Itoa(i + 1)
		content, inner := p.content(index)
		content["panelIndex"] = index
		content["gridData"] = m{"x": p.x, "y": p.y, "w": p.w, "h": p.h, "i": index}
		list = append(list, content)
		for _, r := range inner {
			r.Name = index + ":" + r.Name
			refs = append(refs, r)
		}
	}
	return object{
		ID: overview, Type: "dashboard", Core: core, Version: "8.7.0",
		Attributes: m{
			"title": "Mining overview", "description": "Who mines, where, and what the servers answered (Minecanary).",
			"kibanaSavedObjectMeta": m{"searchSourceJSON": text(m{"query": noQuery, "filter": []any{}})},
			"optionsJSON":           text(m{"useMargins": true, "syncColors": true, "syncCursor": true, "syncTooltips": false, "hidePanelTitles": false}),
			"panelsJSON":            text(list),
			"timeRestore":           true, "timeFrom": "now-7d", "timeTo": "now",
			"refreshInterval": m{"pause": true, "value": 60000},
			"version":         1,
		},
		References: refs,
	}
}

// column is a column of a Lens layer.
type column struct {
	label, kind, operation, field string
	bucket                        bool
	scale                         string
	params                        m
}

func (c column) state() m {
	s := m{
		"label": c.label, "customLabel": true, "dataType": c.kind, "operationType": c.operation, "sourceField": c.field,
		"isBucketed": c.bucket, "scale": c.scale,
	}
	if c.params != nil {
		s["params"] = c.params
	}
	return s
}

// terms are the values of a field that have the most of the first number in the same panel.
func terms(label, field string, size int) column {
	return column{label, "string", "terms", field, true, "ordinal", m{
		"size": size, "orderDirection": "desc", "otherBucket": false, "missingBucket": false, "parentFormat": m{"id": "terms"},
	}}
}

// of says that the values are no texts: ip, number.
func (c column) of(kind string) column {
	c.kind = kind
	return c
}

func histogram() column {
	return column{"Time", "date", "date_histogram", "@timestamp", true, "interval", m{"interval": "auto", "includeEmptyRows": true, "dropPartials": false}}
}

func count(label string) column {
	return column{label, "number", "count", "___records___", false, "ratio", m{"emptyAsNull": false}}
}

func unique(label, field string) column {
	return column{label, "number", "unique_count", field, false, "ratio", m{"emptyAsNull": false}}
}

func highest(label, field string) column {
	return column{label, "number", "max", field, false, "ratio", m{"emptyAsNull": true}}
}

func last(label, field string) column {
	return column{label, "date", "max", field, false, "ratio", m{"emptyAsNull": true}}
}

func first(label, field string) column {
	return column{label, "date", "min", field, false, "ratio", m{"emptyAsNull": true}}
}

// id names the column at a place.
func id(place int) string { return fmt.Sprintf("column-%d", place) }

const layer = "layer"

// lens gives a panel with a Lens chart by value.
func lens(title, chart, viewID string, visualization m, columns ...column) func(string) (m, []ref) {
	number := id(slices.IndexFunc(columns, func(c column) bool { return !c.bucket }))
	states, order := m{}, []string{}
	for i, c := range columns {
		if c.operation == "terms" {
			c.params["orderBy"] = m{"type": "column", "columnId": number}
		}
		states[id(i)] = c.state()
		order = append(order, id(i))
	}
	return func(string) (m, []ref) {
		refs := []ref{{viewID, "indexpattern-datasource-layer-" + layer, "index-pattern"}}
		return m{
			"type": "lens", "version": "8.11.0", "title": title,
			"embeddableConfig": m{
				"enhancements": m{},
				"attributes": m{
					"title": title, "type": "lens", "visualizationType": chart, "references": refs,
					"state": m{
						"query": noQuery, "filters": []any{}, "internalReferences": []any{}, "adHocDataViews": m{},
						"visualization": visualization,
						"datasourceStates": m{"formBased": m{"layers": m{layer: m{
							"columns": states, "columnOrder": order, "incompleteColumns": m{},
						}}}},
					},
				},
			},
		}, refs
	}
}

// overTime is a bar chart over time, split by a field.
func overTime(title, viewID, split string) func(string) (m, []ref) {
	return lens(title, "lnsXY", viewID, xy("bar_stacked", m{"xAccessor": id(1), "splitAccessor": id(0), "accessors": []string{id(2)}}),
		terms(split, split, 10), histogram(), count("Count"))
}

// bars are the most frequent values of a field.
func bars(title, viewID, field string) func(string) (m, []ref) {
	return lens(title, "lnsXY", viewID, xy("bar_horizontal", m{"xAccessor": id(0), "accessors": []string{id(1)}}),
		terms(field, field, 10), count("Count"))
}

func xy(series string, one m) m {
	one["layerId"], one["layerType"], one["seriesType"] = layer, "data", series
	visible := m{"x": true, "yLeft": true, "yRight": true}
	return m{
		"layers": []m{one}, "preferredSeriesType": series, "legend": m{"isVisible": true, "position": "right"},
		"valueLabels": "hide", "fittingFunction": "None", "yLeftExtent": m{"mode": "full"}, "yRightExtent": m{"mode": "full"},
		"axisTitlesVisibilitySettings": m{"x": false, "yLeft": false, "yRight": false},
		"tickLabelsVisibilitySettings": visible, "gridlinesVisibilitySettings": visible,
	}
}

// table is a table with a row for each combination of its terms.
func table(title, viewID string, columns ...column) func(string) (m, []ref) {
	shown := make([]m, len(columns))
	for i := range columns {
		shown[i] = m{"columnId": id(i), "isTransposed": false, "isMetric": !columns[i].bucket}
	}
	return lens(title, "lnsDatatable", viewID, m{
		"layerId": layer, "layerType": "data", "columns": shown, "paging": m{"size": 10, "enabled": true},
	}, columns...)
}

// saved shows a saved search.
func saved(title, searchID string) func(string) (m, []ref) {
	return func(index string) (m, []ref) {
		name := "panel_" + index
		return m{
			"type": "search", "version": "8.11.0", "title": title, "panelRefName": name, "embeddableConfig": m{"enhancements": m{}},
		}, []ref{{searchID, name, "search"}}
	}
}
