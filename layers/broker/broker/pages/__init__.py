"""The few pages that people see: plain HTML and CSS, no script, nothing from another host."""
