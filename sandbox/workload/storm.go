package main

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Number of failed calls whose outcomes are kept; all are counted.
const failuresKept = 100

// tally has the counts of a storm's calls so far. Answered counts by the issuers of the two
// certificates: "CALLER CALLEE", the key ID of each in hex.
type tally struct {
	Answered map[string]int `json:"answered"`
	Failed   int            `json:"failed"`
	Failures []outcome      `json:"failures,omitempty"`
}

func (t *tally) count(id *identity, o outcome) {
	if o.Layer == layerAnswered {
		t.Answered[id.authority()+" "+o.Authority]++
		return
	}
	t.Failed++
	if len(t.Failures) < failuresKept {
		t.Failures = append(t.Failures, o)
	}
}

func (t *tally) copy() *tally {
	return &tally{maps.Clone(t.Answered), t.Failed, slices.Clone(t.Failures)}
}

// storm calls its targets in turn until it is stopped, each time with a new connection and the current
// files. It makes one call at a time, so a call that takes longer than its interval delays the next.
type storm struct {
	stop  chan struct{}
	ended chan struct{}
	mutex sync.Mutex
	tally tally
}

// raised is the current storm, if there is one.
var raised struct {
	mutex sync.Mutex
	storm *storm
}

func raise(r request, store *store) error {
	if len(r.Targets) == 0 || r.Rate <= 0 {
		return errors.New("a storm needs targets and a rate")
	}
	raised.mutex.Lock()
	defer raised.mutex.Unlock()
	if raised.storm != nil {
		return errors.New("a storm goes on already")
	}
	raised.storm = &storm{
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
		tally: tally{Answered: map[string]int{}},
	}
	go raised.storm.run(r.Targets, store, seconds(1/r.Rate), seconds(r.Timeout))
	return nil
}

// told returns the tally of the current storm.
func told() (answerLine, error) {
	raised.mutex.Lock()
	defer raised.mutex.Unlock()
	if raised.storm == nil {
		return answerLine{}, errors.New("no storm goes on")
	}
	return answerLine{Tally: raised.storm.sofar()}, nil
}

// calm ends the storm after its last call, and returns its tally.
func calm() (answerLine, error) {
	raised.mutex.Lock()
	defer raised.mutex.Unlock()
	ending := raised.storm
	if ending == nil {
		return answerLine{}, errors.New("no storm goes on")
	}
	close(ending.stop)
	<-ending.ended
	raised.storm = nil
	return answerLine{Tally: ending.sofar()}, nil
}

func (s *storm) run(targets []target, store *store, interval, timeout time.Duration) {
	defer close(s.ended)
	turns := time.NewTicker(interval)
	defer turns.Stop()
	for i := 0; ; i++ {
		select {
		case <-s.stop:
			return
		case <-turns.C:
		}
		id, err := store.load()
		var o outcome
		if err != nil {
			o = handshake(byClient, reasonNoIdentity, err)
		} else {
			o = callOne(id, targets[i%len(targets)], timeout)
		}
		s.mutex.Lock()
		s.tally.count(id, o)
		s.mutex.Unlock()
	}
}

func (s *storm) sofar() *tally {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.tally.copy()
}
