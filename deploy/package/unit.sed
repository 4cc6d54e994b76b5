# The unit as the Debian package has it: the package installs what the head says, and makes the user.
/^#   install/,/^#$/d
s|/usr/local/bin/hookferry|/usr/bin/hookferry|
s|^# A user of its own, with the spool in .*|# The package's user, with the spool in /var/lib/hookferry.|
/^DynamicUser=yes$/d
