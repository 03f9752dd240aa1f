"""Many runs from one plan: each is a job that can be done anywhere, begun once, resumed, and never done twice."""
