# The configuration as the Debian package has it.
s|/usr/local/bin/hookferry|/usr/bin/hookferry|
s|-p DynamicUser=yes|-p User=hookferry|
