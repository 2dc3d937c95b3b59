package openwhisk

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
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

// Foreign reports whether f is the copy of what lies in a package of another
// namespace. Its code is to invoke functions and to fire triggers of the namespace
// that it runs in, where it has a key at all, and may read nothing there, whatever
// f was granted. What can't be read is foreign.
func Foreign(f rouse.Function) bool {
	raw := f.Notes[Name]
	if raw == nil {
		return false
	}
	var n openwhisk.Note
	return json.Unmarshal(raw, &n) != nil || !strings.HasPrefix(n.Path, string(f.Namespace)+"/")
}

// acts reports whether f does something in the namespace that it runs in, be it to
// a trigger or to a stream, without code that could be asked for a key.
func acts(f rouse.Function) bool {
	return f.Contract == contractSystem && f.Handler != "utils/hosturl"
}

// entitled refuses to let code that is not its owner's act for a namespace by an
// action of the system, unless it shows a key of the owner: it was given that as
// authKey, as feeds are. What is bound to the action does not count, for the code
// that asks need not know it.
func (d *Door) entitled(ctx context.Context, own rouse.Namespace, a *action, args []byte) error {
	if !acts(a.f) {
		return nil
	}
	given := parameters{}
	_ = json.Unmarshal(args, &given) // there is no key in what is no object
	id, secret, _ := strings.Cut(given.text("authKey"), ":")
	who, want, err := d.Subjects.Secret(ctx, id)
	c := call{who: who}
	if err == nil && subtle.ConstantTimeCompare([]byte(secret), []byte(want)) == 1 && c.own() == own && c.owner() == nil {
		return nil
	}
	if err != nil && rouse.KindOf(err) != rouse.Unauthenticated {
		return err
	}
	return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s': code that is not the owner's must be given a key of the owner as authKey.", a.path)
}
