$CAIRN du golden; echo "status $?"
cp -al golden/checkpoint-10 copy-of-10
$CAIRN du golden | grep '^checkpoint-10 '
rm -r copy-of-10
ln golden/checkpoint-10/config.json golden/checkpoint-20/twin.json
$CAIRN du --json golden | grep -A3 'checkpoint-[12]0"'
$CAIRN du | tail -1
$CAIRN -C nowhere du; echo "status $?"
$CAIRN du nowhere; echo "status $?"
