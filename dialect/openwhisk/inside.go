package openwhisk

import (
	"encoding/json"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
)

// PathAPI begins the paths that an action finds, from inside its sandbox, as
// everybody does from outside.
const PathAPI = "/api/"

// Inside says what f may ask of the API from inside its sandbox. An action finds
// all of PathAPI there, for whatever key of a subject its code shows. With owner,
// its own key is its namespace's: it was made with provide-api-key, and by that
// namespace. The code of another's package is not its own, whoever runs it.
func Inside(f rouse.Function) (action, owner bool) {
	if f.Contract != Name && f.Contract != contractConductor {
		return false, false
	}
	var n openwhisk.Note
	if len(f.Allow) == 0 || json.Unmarshal(f.Notes[Name], &n) != nil {
		return true, false
	}
	return true, n.ProvideKey && strings.HasPrefix(n.Path, string(f.Namespace)+"/")
}
