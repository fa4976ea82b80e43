#!/bin/sh
# Gives Kibana's account its password, and makes the account that Minecanary writes with: it may add documents to
# Minecanary's data streams and look them up by id, and nothing else. Run again it changes nothing.
set -eu

# call METHOD PATH: the body comes from descriptor 3, the log-in from standard input; a command line is for everybody to
# read.
call() {
	printf 'user = "elastic:%s"\n' "$ELASTIC_PASSWORD" |
		curl -sS --fail-with-body --retry 10 --retry-connrefused --retry-delay 2 -K - -o /dev/null \
			-X "$1" -H 'Content-Type: application/json' --data-binary @/dev/fd/3 "$ES_URL$2"
}

call POST /_security/user/kibana_system/_password 3<<END
{"password": "$KIBANA_PASSWORD"}
END
call PUT /_security/role/minecanary_writer 3<<END
{
  "cluster": ["monitor"],
  "indices": [{
    "names": ["logs-minecanary.*", "logs-ti_minecanary.*"],
    "privileges": ["create_doc", "auto_configure", "read", "view_index_metadata"]
  }]
}
END
call PUT /_security/user/minecanary 3<<END
{"password": "$MINECANARY_ES_PASSWORD", "roles": ["minecanary_writer"]}
END
echo "accounts are set up"
