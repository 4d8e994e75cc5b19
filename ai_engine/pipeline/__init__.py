"""One job as four stages: download -> cut out -> shape -> finish. The only door to hy3dgen."""
