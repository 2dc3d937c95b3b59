package node

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/rouse-run/rouse"
)

// measures are what Prometheus reads of a node.
type measures struct {
	set      *metrics.Set
	statuses []*metrics.Counter
	cold     *metrics.Counter
	seconds  *metrics.PrometheusHistogram
	boots    *metrics.PrometheusHistogram
	spent    *metrics.FloatCounter
}

// durations are the upper bounds of buckets, in seconds: from calls that take
// microseconds to those that take minutes.
var durations = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900}

func newMetrics(n *Node) *measures {
	metrics.ExposeMetadata(true) // the types, for all sets
	s := metrics.NewSet()
	m := &measures{set: s,
		cold:    s.NewCounter("rouse_cold_starts_total"),
		seconds: s.NewPrometheusHistogramExt("rouse_run_seconds", durations),
		boots:   s.NewPrometheusHistogramExt("rouse_boot_seconds", durations),
		spent:   s.NewFloatCounter("rouse_gb_seconds_total"),
	}
	for _, status := range rouse.Statuses() {
		m.statuses = append(m.statuses, s.NewCounter(fmt.Sprintf("rouse_activations_total{status=%q}", status)))
	}
	s.NewGauge("rouse_instances", func() float64 {
		instances, _ := n.pool.Usage()
		return float64(instances)
	})
	s.NewGauge("rouse_instance_memory_bytes", func() float64 {
		_, bytes := n.pool.Usage()
		return float64(bytes)
	})
	s.NewGauge("rouse_records_dropped", func() float64 { return float64(n.recorder.Dropped()) })
	s.NewGauge("rouse_start_time_seconds", func() float64 { return float64(n.started.Unix()) })
	return m
}

func (m *measures) write(w io.Writer) {
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

// around counts what passes an Invoker.
func (m *measures) around(next rouse.Invoker) rouse.Invoker { return measured{next, m} }

type measured struct {
	next rouse.Invoker
	*measures
}

// Invoke implements rouse.Invoker.
func (m measured) Invoke(ctx context.Context, in rouse.Invocation) (rouse.Activation, error) {
	a, err := m.next.Invoke(ctx, in)
	if a.ID == "" { // it came to nothing
		return a, err
	}
	m.statuses[a.Status].Inc()
	m.seconds.Update(time.Duration(a.Run).Seconds())
	m.spent.Add(a.GBSeconds)
	if a.Cold {
		m.cold.Inc()
		m.boots.Update(time.Duration(a.Init).Seconds())
	}
	return a, err
}
