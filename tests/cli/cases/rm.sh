$CAIRN rm golden@40; echo "status $?"
$CAIRN tag golden@10 --pin
$CAIRN rm golden@10; echo "status $?"
$CAIRN rm --item optimizer golden@20; echo "status $?"
$CAIRN rm --item nothing golden@20; echo "status $?"
$CAIRN verify golden@20; echo "status $?"
$CAIRN ls golden | grep '^ *20 '
$CAIRN rm golden@20 golden@30~1 golden@77; echo "status $?"
$CAIRN tag golden@10 --unpin
$CAIRN rm golden/checkpoint-10; echo "status $?"
ls -d golden/checkpoint-*
$CAIRN rm; echo "status $?"
