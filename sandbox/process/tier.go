package process

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/cgroup"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// The tiers of isolation, as Config.Isolation names them.
const (
	Namespaces = "namespaces"
	Landlock   = "landlock"
	none       = "none" // functions can't be isolated
)

// A tier is one way to wall off rooms: what all of its rooms have in common.
type tier interface {
	traits() traits

	// plan is what a stage builds, with mounts of more besides what every room
	// sees, and the descriptors that it needs for it.
	plan(more ...bind) (stage.Plan, []int, error)

	// attributes are those that a stage is started with.
	attributes() *syscall.SysProcAttr

	// group makes a control group; nil where the tier has none.
	group(name string, l cgroup.Limits) (*cgroup.Group, error)

	// lend makes the walls of a new room.
	lend(id int64) (walls, int, error)

	// adapt changes the kind of room that spec's code starts in to one that the
	// tier has, and refuses what it can't keep safe.
	adapt(k kind, rt rouse.Runtime, spec rouse.Spec) (kind, error)

	// place puts into s what spec's code brings.
	place(s *sandbox, k kind, rt rouse.Runtime, spec rouse.Spec) (place, error)

	close() error
}

// traits are what does not change about a tier.
type traits struct {
	name   string
	inside string                 // host folder of what runs in rooms for us
	own    string                 // the same as they see it
	filter []byte                 // seccomp program of functions
	usable func(path string) bool // whether rooms can start that interpreter
}

// walls are what a tier puts around one room.
type walls interface {
	// cgroup is a descriptor of the group to be started in, or -1.
	cgroup() int

	// enter puts in a first process that was forked rather than started.
	enter(r *room) error

	limit(r *room, l rouse.Limits) error
	usage(r *room) rouse.Usage

	// dial connects to what the code was told is port.
	dial(ctx context.Context, r *room, port int) (net.Conn, error)

	// kill ends all that runs in the room.
	kill(r *room)

	// clear sees to it that nothing is left once the first process has ended,
	// and says whether memory had run out.
	clear(r *room) (starved bool)

	// free gives back what was lent. Nothing runs any more.
	free()
}

// A place is where a room's code finds what it brought.
type place struct {
	code   string
	deps   string // "" is none
	tmp    string
	port   int      // for ModeServe
	fds    []int    // mounts, or one Landlock ruleset
	mounts []string // where fds are to be mounted
	data   uint64   // bytes that the first process may map; 0 is as many as it wants
	filter []byte   // instead of the room's usual one; nil is that
}

// choose makes the tier that c asks for, or the strongest that works.
func choose(c Config) (tier, error) {
	d := Doctor()
	name := c.Isolation
	if name == "" || name == "auto" {
		name = d.Tier
	}
	switch name {
	case Namespaces:
		return newNamespaces(c, d)
	case Landlock:
		return newLandlock(c, d)
	case none:
		return nil, rouse.Errorf(rouse.Unavailable, "open sandboxes", "", "this host gives no tier of isolation; to change that: %s", d.Next)
	}
	return nil, rouse.Errorf(rouse.Invalid, "open sandboxes", name, "there is no such isolation tier; there are %s, %s and auto", Namespaces, Landlock)
}

// refused says what of a tier the host lacks.
func refused(tier string, d Diagnosis) error {
	var missing []string
	hint := ""
	for _, c := range d.Checks {
		if !c.OK && slices.Contains(c.Needed, tier) {
			missing = append(missing, c.Name)
			if hint == "" {
				hint = c.Hint
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return rouse.Errorf(rouse.Unavailable, "open sandboxes", tier, "this host does not give that tier of isolation; it lacks: %s; to change that: %s", strings.Join(missing, ", "), hint)
}

// reachable says whether every user may enter the folders on the way to path.
func reachable(path string) bool {
	for {
		info, err := os.Stat(path)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if path == "/" {
			return true
		}
		path = filepath.Dir(path)
	}
}
