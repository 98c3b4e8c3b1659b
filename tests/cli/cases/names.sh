for command in ls show verify tag du rm doctor "keep --last 1" "diff golden@20"; do $CAIRN $command ""; echo "status $?"; done
$CAIRN tag golden@20 ""; echo "status $?"
mkdir st && cp -a golden st/golden
for command in ls show verify du rm "keep --last 1" "tag --pin"; do $CAIRN $command st; echo "status $?"; done
for command in "ls x" "show x@1" "verify x" "du x" ls; do $CAIRN -C nowhere $command; echo "status $?"; done
$CAIRN -C st ls x; echo "status $?"
$CAIRN -C st show x; echo "status $?"
$CAIRN -C st show x@3; echo "status $?"
$CAIRN show st@3; echo "status $?"
for command in ls du "keep --last 1"; do $CAIRN $command golden@20; echo "status $?"; done
$CAIRN tag release golden@20; echo "status $?"
$CAIRN rm --item "" golden@10; echo "status $?"
$CAIRN verify golden@20 nowhere golden@10 2>&1
cp -a st/golden st/other
$CAIRN -C st show other/; echo "status $?"
$CAIRN -C st show other@latest | head -1
$CAIRN -C st show golden 2>&1 | sed "s:$PWD:HERE:"
(cd golden && $CAIRN show ./; echo "status $?"; $CAIRN show .@latest | head -1)
for command in ls du "keep --last 1"; do $CAIRN $command golden/checkpoint-20; echo "status $?"; done
$CAIRN -C golden/run.json ls; echo "status $?"
$CAIRN -C golden/run.json du; echo "status $?"
