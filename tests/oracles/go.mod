module hookferry/oracles

go 1.19

require github.com/PagerDuty/go-pagerduty v1.8.0
