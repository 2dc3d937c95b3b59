package stream

import (
	"testing"

	"github.com/rouse-run/rouse/store/storetest/both"
)

// drivers are those that the tests run on.
var drivers = both.Drivers()

func TestOnPostgreSQL(t *testing.T) { drivers.Again(t) }
