// Package docker holds what a deployment installs in other services: the templates of Elasticsearch and the saved objects
// of Kibana, as the files in this folder.
package docker

import "embed"

// Elasticsearch holds the templates, each in a file whose path is that of the API without its underscore:
// elasticsearch/component_template/NAME.json and elasticsearch/index_template/NAME.json.
//
//go:embed elasticsearch
var Elasticsearch embed.FS

// Kibana holds the saved objects, a JSON object a line: data views, a saved search and the dashboard "Mining overview".
//
//go:generate go run ./kibana/gen kibana/minecanary.ndjson
//go:embed kibana/minecanary.ndjson
var Kibana []byte
