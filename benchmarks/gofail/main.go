// A process that times one call of a function with a failpoint of gofail in it.
//
//	program bare|failpoint EXPECTED SECONDS
//
// Every line of input is answered with a line of output: the nanoseconds of one call. EXPECTED is what the
// call has to return, so that a failpoint that was not armed, or not compiled in, is not timed by mistake.
// Rounds take so many seconds, about. GOFAIL_FAILPOINTS arms the failpoint, as it does anywhere.
//
// `gofail enable` turns the comment in `failpoint` into code before this is built.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

//go:noinline
func bare() string {
	return "default"
}

//go:noinline
func failpoint() string {
	// gofail: var Call string
	// return Call
	return "default"
}

func timeBare(number int) time.Duration {
	began := time.Now()
	for i := 0; i < number; i++ {
		bare()
	}
	return time.Since(began)
}

// The same loop once more, since a call through a variable would cost more than a call by name.
func timeFailpoint(number int) time.Duration {
	began := time.Now()
	for i := 0; i < number; i++ {
		failpoint()
	}
	return time.Since(began)
}

func main() {
	call, measure := bare, timeBare
	if os.Args[1] == "failpoint" {
		call, measure = failpoint, timeFailpoint
	}
	if returned := call(); returned != os.Args[2] {
		fmt.Fprintf(os.Stderr, "the call returned %q, not %q\n", returned, os.Args[2])
		os.Exit(1)
	}
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	debug.SetGCPercent(-1) // as the other side has it

	round := time.Duration(seconds * float64(time.Second))
	number := 1
	spent := measure(number)
	for ; spent < round/4; spent = measure(number) {
		number *= 2
	}
	number = int(float64(number)*float64(round)/float64(spent)) + 1
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(float64(measure(number).Nanoseconds()) / float64(number))
	}
}
